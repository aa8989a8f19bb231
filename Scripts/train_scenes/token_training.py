"""The training loop that the three text-to-image models share: random scenes, random captions, one loss."""
import json
import os

import torch
from torch import nn

import shards
from captions import CaptionTokenizer
from training import Average, Clock, Ranks, decay_groups, learning_rate, write_atomically

HOLD = 0.45                                                  # of the time at the full rate
WARMUP = 400                                                 # steps
NO_CAPTION = 0.10                                            # of the examples: what guidance starts from


def arguments(parser, batch, rate):
    shards.add_arguments(parser)
    parser.add_argument("--name", required=True, help="of the files that are written")
    parser.add_argument("--until", help="file with the time of the end, in seconds since 1970")
    parser.add_argument("--seconds", type=float, help="instead of --until: from the first step")
    parser.add_argument("--batch", type=int, default=batch, help="of all ranks together")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--snapshot-every", type=float, default=60)
    parser.add_argument("--log-every", type=float, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--resume", help="a NAME.pt to go on from; the optimizer starts anew")
    parser.add_argument("--hold", type=float, default=HOLD, help="share of the time at the full rate")
    parser.add_argument("--graph", action="store_true", help="replay the step as a CUDA graph: it is bound by kernel launches")
    parser.add_argument("--smoke", type=int, default=0, help="so many steps on random pictures, and out: nothing is written")
    return parser.parse_args()


def random_tokens(count, device):
    return torch.randint(0, 256, (count, 256), device=device).short()


def train(options, modules, prepare, loss_function, tokenizer, weight_decay, path=shards.tokens_path, example=random_tokens):
    """Trains `modules` (name -> module). `prepare(tokens, ids)` gives the arguments of `loss_function`.

    Pictures are what the files `path` hold: tokens, or latents in their place; `example(count, device)` makes random ones.
    """
    ranks = Ranks(options.device)
    device = ranks.device
    if options.resume:
        state = torch.load(options.resume, map_location="cpu")
        for name, module in modules.items():
            module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state[name].items()})
    for module in modules.values():
        module.to(device).train()
    ranks.say({name: f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f}M" for name, module in modules.items()})
    parameters = [p for module in modules.values() for p in module.parameters()]
    ranks.broadcast([p.data for p in parameters])
    optimizer = torch.optim.AdamW(decay_groups(modules.values(), weight_decay), options.rate, betas=(0.9, 0.98), fused=ranks.cuda)
    average = Average(parameters)
    compiled = ranks.compile(loss_function)
    batch = options.batch // ranks.world

    def plain_loss(tokens, ids):
        with ranks.autocast():
            return loss_function(*prepare(tokens, ids))

    def eager_gradients(*inputs):
        optimizer.zero_grad(set_to_none=True)
        with ranks.autocast():
            loss = compiled(*inputs)
        loss.backward()
        return loss

    gradients = eager_gradients

    def training_step(tokens, ids, rate):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = gradients(*prepare(tokens, ids))
        ranks.mean([p.grad for p in parameters if p.grad is not None])
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        return loss

    # Compile while the pictures are still being made: random ones, and a rate of zero.
    warmup = [example(batch, device), torch.randint(0, 256, (batch, 40), device=device).short()]
    try:
        for _ in range(3):
            training_step(*warmup, 0.0)
        ranks.synchronize()
        ranks.say("compiled")
    except Exception as error:                               # slower is better than nothing
        compiled = loss_function
        ranks.say("not compiled:", type(error).__name__, str(error)[:2000])
    if options.graph and ranks.cuda:
        try:
            gradients = recorded(eager_gradients, prepare(*warmup), optimizer)
            for _ in range(3):
                training_step(*warmup, 0.0)
            ranks.synchronize()
            ranks.say("recorded")
        except Exception as error:
            gradients = eager_gradients
            ranks.say("no graph:", error)
    if options.smoke:
        smoke(options.smoke, ranks, training_step, warmup, options.batch)
        return
    optimizer.state.clear()
    average = Average(parameters)
    scenes = shards.TokenSet(options.out, options.shards, tokenizer, device, path)
    held = min(shards.VALIDATION, len(scenes) // 4)
    empty = torch.tensor(CaptionTokenizer(tokenizer)(""), device=device).short()
    ranks.say("scenes", len(scenes))

    @torch.no_grad()
    def validation_loss():
        state = torch.random.get_rng_state(), torch.cuda.get_rng_state() if ranks.cuda else None
        torch.manual_seed(0)                                 # the same masks every time
        parts = [plain_loss(scenes.tokens[i:i + 256], scenes.captions[i:i + 256, 0]).item() for i in range(0, held, 256)]
        torch.random.set_rng_state(state[0])
        if ranks.cuda:
            torch.cuda.set_rng_state(state[1])
        return sum(parts) / len(parts)

    def snapshot():
        state = {name: average.state_dict(module) for name, module in modules.items()}
        write_atomically(os.path.join(options.out, options.name + ".pt"), lambda path: torch.save(state, path))
        report = dict(steps=step, pictures=step * options.batch, scenes=len(scenes), seconds=round(clock.elapsed, 1), history=history)
        write_atomically(os.path.join(options.out, options.name + ".json"), lambda path: json.dump(report, open(path, "w")))

    clock = Clock(ranks, options.seconds, options.until)
    torch.manual_seed(1 + ranks.rank)
    step, progress, history = 0, 0.0, []
    recent, logged, logged_step, saved = [], 0.0, 0, 0.0
    clock.start()
    while progress < 1:
        if scenes.pending and step % 50 == 0:
            scenes.grow()
        rows = torch.randint(held, len(scenes), (batch,), device=device)
        ids = scenes.captions[rows, torch.randint(0, shards.CAPTIONS, (batch,), device=device)]
        ids = torch.where(torch.rand(batch, 1, device=device) < NO_CAPTION, empty, ids)
        loss = training_step(scenes.tokens[rows], ids, learning_rate(step, progress, options.rate, WARMUP, options.hold))
        step += 1
        progress = clock.progress()
        if step % 20 == 0:
            recent.append(loss.detach().clone())
        if ranks.rank == 0 and clock.elapsed - logged > options.log_every and recent:
            mean = torch.stack(recent).mean().item()
            speed = (step - logged_step) * options.batch / (clock.elapsed - logged)
            history.append((round(clock.elapsed, 1), step, round(mean, 4), round(validation_loss(), 4)))
            ranks.say(f"step {step} progress {progress:.2f} scenes {len(scenes)} loss {mean:.4f} validation {history[-1][-1]:.4f} {speed:.0f} pictures/s")
            recent, logged, logged_step = [], clock.elapsed, step
        if ranks.rank == 0 and clock.elapsed - saved > options.snapshot_every:
            saved = clock.elapsed
            snapshot()
    if ranks.rank == 0:
        history.append((round(clock.elapsed, 1), step, round(loss.item(), 4), round(validation_loss(), 4)))
        snapshot()
        open(os.path.join(options.out, options.name + ".done"), "w").close()
    ranks.say(f"done: {step} steps, {step * options.batch} pictures, {clock.elapsed:.0f} s, validation", history[-1][-1] if history else None)
    ranks.close()


def recorded(gradients, inputs, optimizer):
    """`gradients` as one CUDA graph: it reads copies of its inputs and leaves the gradients where they were recorded."""
    inputs = [t.clone() for t in inputs]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            gradients(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):         # NCCL's watchdog thread asks for events meanwhile
        loss = gradients(*inputs)

    def replay(*values):
        for place, value in zip(inputs, values):
            place.copy_(value)
        graph.replay()
        return loss

    return replay


def smoke(steps, ranks, training_step, warmup, batch):
    import time
    began = time.time()
    for _ in range(steps):
        loss = training_step(*warmup, 1e-3)
    ranks.synchronize()
    seconds = time.time() - began
    ranks.say(f"{steps} steps, loss {loss.item():.3f}, {steps * batch / seconds:.0f} pictures/s, {1000 * seconds / steps:.1f} ms a step")
    ranks.close()
