"""Trains the judge on renders with every colour and shape, softened, noisy and off in tone as a generator's pictures are."""
import argparse
import json
import os

import numpy as np
import torch
from torch.nn import functional as F

import judge
import render
import scenes as S
from captions import Meaning
from training import Clock, Ranks, write_atomically


def targets(scenes, device):
    """Centres (n, 3, 2), existence (n, 3), attributes (n, 3, 4), floors (n,)."""
    exists = np.arange(3)[None] < scenes["count"][:, None]
    attributes = np.stack([scenes[name] for name in judge.ATTRIBUTES], -1)
    return [torch.from_numpy(a).to(device) for a in (S.centers(scenes), exists, attributes, scenes["floor"])]


def spoil(x):
    """Blur or sharpen, add noise, shift contrast and brightness."""
    u = torch.rand(len(x), 4, 1, 1, device=x.device)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + (soft - x) * (u[:, :1] * 1.6 - 0.5).clamp(0, 1)
    x = x + torch.randn_like(x) * 0.04 * u[:, 1:2] ** 2
    return (x - 0.5) * (1 + 0.12 * (u[:, 2:3] - 0.5)) + 0.5 + 0.06 * (u[:, 3:] - 0.5)


def loss_function(maps, floors, centers, exists, attributes, floor):
    """Focal loss of the heat map with Gaussian targets (CenterNet), cross-entropy of the attributes at the centres."""
    maps, exists = maps.float(), exists.float()
    cells = maps.shape[-1]
    middle = (torch.arange(cells, device=maps.device) + 0.5) * judge.CELL
    d2 = (middle[None, None, None, :] - centers[:, :, 0, None, None]) ** 2 + (middle[None, None, :, None] - centers[:, :, 1, None, None]) ** 2
    near = (torch.exp(-d2 / (2 * 9.0 ** 2)) * exists[:, :, None, None]).amax(1)
    cell = (centers / judge.CELL).floor().clamp(0, cells - 1).long()
    place = cell[..., 1] * cells + cell[..., 0]
    is_center = torch.zeros(len(maps), cells * cells, device=maps.device).scatter_reduce_(1, place, exists, "amax").view_as(near)
    heat = maps[:, 0]
    p, total = heat.sigmoid(), exists.sum().clamp_min(1)
    focal = -(is_center * (1 - p) ** 2 * F.logsigmoid(heat) + (1 - is_center) * (1 - near) ** 4 * p ** 2 * F.logsigmoid(-heat)).sum() / total
    at_centers = maps[:, 1:].flatten(2).gather(2, place[:, None].expand(-1, maps.shape[1] - 1, -1)).permute(0, 2, 1)
    entropy = 0.0
    for k, logits in enumerate(at_centers.split(list(judge.ATTRIBUTES.values()), -1)):
        entropy = entropy + (F.cross_entropy(logits.flatten(0, 1), attributes[..., k].flatten(), reduction="none") * exists.flatten()).sum() / total
    return focal + entropy + 0.2 * F.cross_entropy(floors.float(), floor)


def full_meanings(scenes):
    return [Meaning([{name: int(scenes[name][i, k]) for name in judge.ATTRIBUTES} for k in range(scenes["count"][i])], [], int(scenes["floor"][i]))
            for i in range(len(scenes["count"]))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--seconds", type=float, default=100)
    arguments.add_argument("--scenes", type=int, default=60_000)
    arguments.add_argument("--validation", type=int, default=2000)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--device", default="cuda")
    options = arguments.parse_args()
    ranks = Ranks(options.device)
    device = ranks.device
    if ranks.cuda:
        render.compile_span()
    scenes, unseen = S.sample_scenes(options.scenes, 500, held_out=True), S.sample_scenes(options.validation, 501, held_out=True)
    tracer_batch = 64 if ranks.cuda else 4
    pictures, validation = (render.render(s, device, tracer_batch) for s in (scenes, unseen))
    truth = targets(scenes, device)
    ranks.say("rendered", len(pictures))

    torch.manual_seed(0)
    detector = judge.Detector().to(device, memory_format=torch.channels_last)
    network, peak = ranks.compile(detector), 2e-3
    optimizer = torch.optim.AdamW(detector.parameters(), peak, weight_decay=1e-2, fused=ranks.cuda)
    clock, step, progress = Clock(ranks, options.seconds), 0, 0.0
    clock.start()
    while progress < 1:
        if step == 10:                                       # compiled by now
            ranks.synchronize()
            clock.start()
        rows = torch.randint(0, len(pictures), (options.batch,), device=device)
        x = spoil(pictures[rows].float().div(255)).contiguous(memory_format=torch.channels_last)
        with ranks.autocast():
            maps, floors = network(x)
        loss = loss_function(maps, floors, *(t[rows] for t in truth))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, (step + 1) / 100) * max(0.01, 0.5 * (1 + np.cos(np.pi * min(progress, 1))))
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
        progress, step = clock.progress(), step + 1
        if step % 500 == 0:
            ranks.say(f"step {step} progress {progress:.2f} loss {loss.item():.4f}")
    detector.eval()
    table = judge.score(judge.detect(detector, validation), full_meanings(unseen))
    ranks.say(step, "steps; on unseen renders:", json.dumps(table))
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "judge.json"), "w") as file:
        json.dump(dict(steps=step, **table), file)
    write_atomically(os.path.join(options.out, "judge.pt"), lambda path: judge.save(detector, path))


if __name__ == "__main__":
    main()
