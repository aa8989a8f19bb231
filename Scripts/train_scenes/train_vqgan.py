"""Trains the VQGAN on its own renders: pixels, gradients of pixels, and late a patch discriminator.

The codebook follows the latents by moving sums over all ranks; codes that are hardly used start again at a random latent.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
from torch import nn

import pictures as P
import render
import scenes as S
import vqgan
from picture_loss import Adversary, pairs, pixel_loss, pixel_weight, psnr_table
from training import Clock, Ranks

COMMITMENT = 1.0
WARMUP = 150
CODES_SETTLE = 0.7                                           # of the time: after it no code starts again
ADVERSARY_BEGINS = 0.68                                      # of the time
ADVERSARY_SHARE = 0.10                                       # of the pixel loss's gradient


class Codebook:
    """Moving sums of the latents that chose each code; the code is their mean."""
    def __init__(self, ranks, weight):
        self.ranks, self.codes = ranks, weight
        self.counts, self.sums = torch.zeros(len(weight), device=weight.device), torch.zeros_like(weight)

    def start(self, latents):
        rows = torch.randint(0, len(latents), (len(self.codes),), device=latents.device)
        self.codes.copy_(latents[rows])
        self.ranks.broadcast([self.codes.data])
        self.counts.fill_(1.0)
        self.sums.copy_(self.codes)

    def tally(self, latents, ids):
        counts = torch.bincount(ids, minlength=len(self.codes)).float()
        return counts, torch.zeros_like(self.sums).index_add_(0, ids, latents)

    def update(self, counts, sums, decay):
        self.counts.mul_(decay).add_(counts * self.ranks.world, alpha=1 - decay)
        self.sums.mul_(decay).add_(sums * self.ranks.world, alpha=1 - decay)
        self.codes.copy_(self.sums / self.counts.clamp_min(1e-3)[:, None])

    @property
    def unused(self):
        return self.counts < 0.02 * self.counts.mean()

    def restart_unused(self, latents):
        fresh = latents[torch.randint(0, len(latents), (len(self.codes),), device=latents.device)]
        self.ranks.broadcast([fresh])
        unused, count = self.unused, self.counts.mean() * 0.3
        self.codes.copy_(torch.where(unused[:, None], fresh, self.codes))
        self.sums.copy_(torch.where(unused[:, None], fresh * count, self.sums))
        self.counts.copy_(torch.where(unused, count, self.counts))


def evaluate(model, scenes, pictures, masks):
    tokens = vqgan.encode(model, pictures, batch=min(64, len(pictures)))
    decoded = vqgan.decode(model, tokens)
    used = torch.bincount(tokens.view(-1).long(), minlength=vqgan.CODES).float()
    share = used / used.sum()
    table = dict(
        psnr_table(scenes, pictures, decoded, masks),
        codes_used=int((used > 0).sum()), perplexity=round(torch.exp(-(share * (share + 1e-12).log()).sum()).item(), 1))
    return table, decoded


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--seconds", type=float, default=430)
    arguments.add_argument("--scenes", type=int, default=32_000, help="a rank")
    arguments.add_argument("--validation", type=int, default=512)
    arguments.add_argument("--batch", type=int, default=48, help="a rank")
    arguments.add_argument("--rate", type=float, default=8e-4)
    arguments.add_argument("--resume", help="folder of a VQGAN to go on from")
    arguments.add_argument("--snapshot-every", type=float, default=90)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    ranks = Ranks(options.device)
    device, tracer_batch = ranks.device, 64 if ranks.cuda else 4
    os.makedirs(options.out, exist_ok=True)
    if ranks.cuda:
        render.compile_span()
    scenes = S.sample_scenes(options.scenes, 100 + ranks.rank, held_out=True)
    images, masks = render.render(scenes, device, tracer_batch, with_mask=True)
    unseen = S.sample_scenes(options.validation, 77, held_out=True)
    unseen_images, unseen_masks = render.render(unseen, device, tracer_batch, with_mask=True)
    ranks.synchronize()
    ranks.say("rendered", len(images), "object share", round(masks.float().mean().item(), 3))

    torch.manual_seed(0)
    model = vqgan.load(options.resume, device).train() if options.resume else vqgan.build(options.tiny).to(device)
    model = model.to(memory_format=torch.channels_last)
    adversary = Adversary(ranks)
    ranks.broadcast([p.data for p in [*model.parameters(), *adversary.network.parameters()]])
    codes = model.quantize.embedding.weight.requires_grad_(False)
    codebook = Codebook(ranks, codes)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, options.rate, betas=(0.9, 0.95), weight_decay=1e-4, fused=ranks.cuda)
    ranks.say(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters")
    encoder = ranks.compile(lambda x: model.quant_conv(model.encoder(x)))
    decoder = ranks.compile(lambda z: model.decoder(model.post_quant_conv(z)))
    loss_of_pixels = ranks.compile(pixel_loss)

    def batch():
        rows = torch.randint(0, len(images), (options.batch,), device=device)
        target = vqgan.to_unit(images[rows]).contiguous(memory_format=torch.channels_last)
        return target, pixel_weight(masks[rows])

    clock, step, progress, logged, saved, history = Clock(ranks, options.seconds), 0, 0.0, 0.0, 0.0, []
    clock.start()
    torch.manual_seed(100 + ranks.rank)
    while progress < 1:
        if step == 12:                                       # compiled by now
            ranks.synchronize()
            clock.start()
            saved = logged = 0.0
            ranks.say("compiled")
        target, weight = batch()
        with ranks.autocast():
            z = encoder(target)
        latents = z.float().permute(0, 2, 3, 1).reshape(-1, vqgan.LATENT)
        with torch.no_grad():
            if step == 0:
                codebook.sums.copy_(codes)
                codebook.counts.fill_(1.0)
                if not options.resume:
                    codebook.start(latents)
            ids = vqgan.nearest(latents, codes)
            counts, sums = codebook.tally(latents, ids)
        chosen = codes[ids].detach()
        commitment = COMMITMENT * (latents - chosen).square().mean()
        straight = (latents + (chosen - latents).detach()).view(len(z), vqgan.SIDE, vqgan.SIDE, vqgan.LATENT).permute(0, 3, 1, 2)
        with ranks.autocast():
            output = decoder(straight)
        leaf = output.float().detach().requires_grad_(True)
        loss = loss_of_pixels(target, leaf, weight)
        gradient = torch.autograd.grad(loss, leaf)[0]
        if progress > ADVERSARY_BEGINS:
            fade = min(1.0, (progress - ADVERSARY_BEGINS) / 0.08)
            gradient = gradient + adversary.gradient(target, leaf, weight, ADVERSARY_SHARE * fade * gradient.norm())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([output, commitment], [gradient.to(output.dtype), torch.ones_like(commitment)])
        ranks.mean([p.grad for p in parameters] + [counts, sums])
        with torch.no_grad():
            codebook.update(counts, sums, 0.97 if progress < 0.1 else 0.99)
            if step % 50 == 49 and progress < CODES_SETTLE:
                codebook.restart_unused(latents)
        rate = options.rate * min(1, (step + 1) / WARMUP) * max(0.02, 0.5 * (1 + np.cos(np.pi * min(progress, 1))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        progress = clock.progress()
        if clock.elapsed - logged > 15 or step == 1:
            logged = clock.elapsed
            history.append((round(logged, 1), step, loss.item(), commitment.item(), int((~codebook.unused).sum())))
            ranks.say(f"step {step} progress {progress:.2f} loss {loss.item():.4f} commitment {commitment.item():.4f} codes {history[-1][-1]}")
        if ranks.rank == 0 and clock.elapsed - saved > options.snapshot_every:
            saved = clock.elapsed
            vqgan.save(model, os.path.join(options.out, f"vqvae_{int(time.time())}"))
    if ranks.rank == 0:
        finish(options, ranks, model, step, history, unseen, unseen_images, unseen_masks)
    ranks.close()


def finish(options, ranks, model, step, history, scenes, images, masks):
    """Rounds to the stored bfloat16, saves, and measures what was saved."""
    folder = os.path.join(options.out, "vqvae")
    vqgan.save(model, folder)
    model = vqgan.load(folder, ranks.device)
    table, decoded = evaluate(model, scenes, images, masks)
    table.update(steps=step, pictures=step * options.batch * ranks.world, seconds=options.seconds, history=history)
    ranks.say({k: v for k, v in table.items() if k != "history"})
    with open(os.path.join(options.out, "vqgan.json"), "w") as file:
        json.dump(table, file)
    cubes = np.flatnonzero((scenes["shape"][:, 0] == S.CUBE) & (scenes["count"] <= 2))[:24]
    P.write_grid(pairs(images, decoded, cubes), os.path.join(options.out, "vqgan_cubes.png"), columns=8)
    P.write_grid(pairs(images, decoded, np.arange(min(24, len(images)))), os.path.join(options.out, "vqgan_pairs.png"), columns=8)


if __name__ == "__main__":
    main()
