"""What the trainers share: ranks, a clock, the learning rate, averaged weights, gradients over ranks."""
import os
import time

import torch
import torch.distributed as dist


class Ranks:
    """One process a GPU, started by torchrun; without it a single process on the device that is named."""
    def __init__(self, device="cuda"):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.cuda = device == "cuda"
        self.device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if self.cuda else device)
        if self.cuda:
            torch.cuda.set_device(self.device)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        if self.world > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo")
        self.started = time.time()

    def say(self, *words):
        if self.rank == 0:
            print(f"[{time.time() - self.started:6.1f}]", *words, flush=True)

    def compile(self, function):
        return torch.compile(function, dynamic=False) if self.cuda else function

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16)

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def broadcast(self, tensors):
        if self.world > 1:
            for t in tensors:
                dist.broadcast(t, 0)

    def mean(self, tensors):
        """The mean over ranks, in place, through one flat buffer."""
        if self.world == 1:
            return
        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        dist.all_reduce(flat)
        flat /= self.world
        parts = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors)])

    def close(self):
        if self.world > 1:
            dist.barrier()
            dist.destroy_process_group()


class Clock:
    """Progress from 0 to 1 in wall time, the same on every rank: training ends when it was said to end.

    The end is so many seconds from the start, or a time (seconds since 1970) in a file that may be rewritten meanwhile.
    """
    def __init__(self, ranks, seconds=None, until_file=None):
        self.ranks, self.seconds, self.until_file = ranks, seconds, until_file
        self.tensor = torch.zeros(1, device=ranks.device)

    def start(self):
        self.began, self.value, self.reads = time.time(), 0.0, 0

    @property
    def elapsed(self):
        return time.time() - self.began

    def duration(self):
        if self.until_file is None:
            return self.seconds
        with open(self.until_file) as file:
            return float(file.read()) - self.began

    def progress(self):
        self.reads += 1
        if self.reads % 10 == 1:                             # agreed on every tenth step: it costs a wait for the GPU
            self.tensor.fill_(self.elapsed / max(self.duration(), 1e-3))
            self.ranks.mean([self.tensor])
            self.value = self.tensor.item()
        return self.value


def learning_rate(step, progress, peak, warmup, hold):
    """Warm-up, constant until `hold` of the time, then a line down to 1 %. Half of the gain comes while it falls."""
    fall = 1.0 if progress < hold else max(0.01, 1 - (progress - hold) / (1 - hold))
    return peak * min(1.0, (step + 1) / warmup) * fall


def decay_groups(modules, weight_decay):
    """Weight decay for matrices and convolutions, none for embeddings and norms."""
    decayed, plain = [], []
    for module in modules:
        for name, p in module.named_parameters():
            (decayed if p.ndim > 1 and "embed" not in name else plain).append(p)
    return [dict(params=decayed, weight_decay=weight_decay), dict(params=plain, weight_decay=0.0)]


class Average:
    """Exponential moving average of the parameters: what is saved."""
    def __init__(self, parameters, decay=0.999):
        self.parameters, self.decay, self.updates = list(parameters), decay, 0
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self):
        self.updates += 1
        torch._foreach_lerp_(self.values, self.parameters, 1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))

    def state_dict(self, module):
        """The module's state with averages in the place of its parameters."""
        value = {id(p): v for p, v in zip(self.parameters, self.values)}
        parameters = {name: value[id(p)] for name, p in module.named_parameters()}
        return {name: parameters.get(name, t).detach().cpu().clone() for name, t in module.state_dict().items()}


def write_atomically(path, write):
    """Others wait for files of this run: a file appears when it is whole."""
    temporary = f"{path}.{os.getpid()}.part"
    write(temporary)
    os.replace(temporary, path)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.5)
