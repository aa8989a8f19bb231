"""Trains the diffusion model's autoencoder on its own renders, as train_vqgan.py does the VQGAN, on one GPU.

The prior's weight is per number of the latent: enough to make the decoder forgive small errors of a latent, which the
diffusion model will make, and to leave unused numbers alone.
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
import vae
from picture_loss import Adversary, pairs, pixel_loss, pixel_weight, psnr_table
from training import Clock, Ranks

PRIOR = 2e-3
WARMUP = 150
ADVERSARY_BEGINS = 0.68                                      # of the time
ADVERSARY_SHARE = 0.10                                       # of the pixel loss's gradient


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--seconds", type=float, default=220)
    arguments.add_argument("--scenes", type=int, default=30_000)
    arguments.add_argument("--validation", type=int, default=512)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--rate", type=float, default=6e-4)
    arguments.add_argument("--resume", help="folder of an autoencoder to go on from")
    arguments.add_argument("--snapshot-every", type=float, default=60)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    ranks = Ranks(options.device)
    device, tracer_batch = ranks.device, 64 if ranks.cuda else 4
    os.makedirs(options.out, exist_ok=True)
    if ranks.cuda:
        render.compile_span()
        torch._dynamo.config.suppress_errors = True          # what does not compile runs eagerly
    images, masks = render.render(S.sample_scenes(options.scenes, 100, held_out=True), device, tracer_batch, with_mask=True)
    unseen = S.sample_scenes(options.validation, 77, held_out=True)
    unseen_images, unseen_masks = render.render(unseen, device, tracer_batch, with_mask=True)
    ranks.synchronize()
    ranks.say("rendered", len(images), "object share", round(masks.float().mean().item(), 3))

    torch.manual_seed(0)
    model = vae.load(options.resume, device).train() if options.resume else vae.build(options.tiny).to(device)
    model = model.to(memory_format=torch.channels_last)
    adversary = Adversary(ranks)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, options.rate, betas=(0.9, 0.95), weight_decay=1e-4, fused=ranks.cuda)
    ranks.say(f"{sum(p.numel() for p in parameters) / 1e6:.2f}M parameters")
    encoder = ranks.compile(lambda x: vae.moments(model, x))
    decoder = ranks.compile(lambda z: model.decoder(model.post_quant_conv(z)))
    loss_of_pixels = ranks.compile(lambda target, output, weight: pixel_loss(target / 2, output / 2, weight))

    clock, step, progress, logged, logged_step, saved, history = Clock(ranks, options.seconds), 0, 0.0, 0.0, 0, 0.0, []
    clock.start()
    while progress < 1:
        if step == 12:                                       # compiled by now
            ranks.synchronize()
            clock.start()
            saved, logged, logged_step = 0.0, 0.0, step
            ranks.say("compiled")
        rows = torch.randint(0, len(images), (options.batch,), device=device)
        target = vae.to_signed(images[rows]).contiguous(memory_format=torch.channels_last)
        weight = pixel_weight(masks[rows])
        with ranks.autocast():
            mean, log_variance = encoder(target).float().chunk(2, 1)
        log_variance = log_variance.clamp(-20, 10)
        prior = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        with ranks.autocast():
            output = decoder(z)
        leaf = output.float().detach().requires_grad_(True)
        loss = loss_of_pixels(target, leaf, weight)
        gradient = torch.autograd.grad(loss, leaf)[0]
        if progress > ADVERSARY_BEGINS:
            fade = min(1.0, (progress - ADVERSARY_BEGINS) / 0.08)
            gradient = gradient + adversary.gradient(target, leaf, weight, ADVERSARY_SHARE * fade * gradient.norm())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([output, PRIOR * prior], [gradient.to(output.dtype), torch.ones_like(prior)])
        rate = options.rate * min(1, (step + 1) / WARMUP) * max(0.02, 0.5 * (1 + np.cos(np.pi * min(progress, 1))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        progress = clock.progress()
        if clock.elapsed - logged > 20 or step == 1:
            speed = (step - logged_step) * options.batch / (clock.elapsed - logged)
            logged, logged_step = clock.elapsed, step
            history.append((round(logged, 1), step, loss.item(), prior.item()))
            ranks.say(f"step {step} progress {progress:.2f} loss {loss.item():.4f} prior {prior.item():.3f} "
                      f"noise {(0.5 * log_variance).exp().mean().item():.3f} of {mean.std().item():.3f} {speed:.0f} pictures/s")
        if clock.elapsed - saved > options.snapshot_every:
            saved = clock.elapsed
            vae.save(model, os.path.join(options.out, f"vae_{int(time.time())}"))
    finish(options, ranks, model, step, history, images, (unseen, unseen_images, unseen_masks))


def finish(options, ranks, model, step, history, images, validation):
    """Standardizes the latents, rounds to the stored bfloat16, saves, and measures what was saved."""
    scenes, pictures, masks = validation
    batch, folder = 64 if ranks.cuda else 4, os.path.join(options.out, "vae")
    model.eval()
    mean, deviation = vae.standardize(model, vae.encode(model, images[:4096], batch))
    vae.save(model, folder)
    model = vae.load(folder, ranks.device)
    latents = vae.encode(model, pictures, batch)
    decoded = vae.decode(model, latents, batch)
    channels = latents.float().transpose(0, 1).flatten(1)
    table = psnr_table(scenes, pictures, decoded, masks)
    table.update(means_before=mean, deviations_before=deviation, means=channels.mean(1).tolist(), deviations=channels.std(1).tolist(),
                 steps=step, pictures=step * options.batch, seconds=options.seconds, history=history)
    ranks.say({k: v for k, v in table.items() if k != "history"})
    with open(os.path.join(options.out, "vae.json"), "w") as file:
        json.dump(table, file)
    P.write_grid(pairs(pictures, decoded, np.arange(min(24, len(pictures)))), os.path.join(options.out, "vae_pairs.png"), columns=8)


if __name__ == "__main__":
    main()
