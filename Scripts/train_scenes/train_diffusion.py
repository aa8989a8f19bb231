"""Trains the diffusion model: the squared error of v = signal * noise - noise factor * latent, all steps alike.

Almost clean latents, the first 130 of the 1,000 steps, weigh less: their v is hard to guess and hardly seen.
"""
import argparse
import os

import torch

import diffusion_model
import pictures as P
import prompts
import shards
import token_training
import vae
from captions import CaptionTokenizer

RATIO_LIMIT = 6.0                                            # of 1 + signal to noise: from there on the weight falls


def write_samples(options):
    """Pictures of prompts that chose nothing, in OUT/samples_NAME.png."""
    state = torch.load(os.path.join(options.out, options.name + ".pt"), map_location="cpu")
    parts = diffusion_model.build(options.tiny)
    for part, name in zip(parts, ("unet", "text_encoder")):
        part.load_state_dict(state[name])
        part.to(options.device).eval()
    tokenizer, count = CaptionTokenizer("clip"), 1 if options.tiny else 6
    texts = [text for _, entries in prompts.prompts(count, prompts.GRID_SEED).values() for text, _ in entries]
    ids, empty = (torch.tensor(list(map(tokenizer, lines)), device=options.device) for lines in (texts, [""]))
    latents = diffusion_model.generate(*parts, ids, empty, **diffusion_model.FIRST_SETTINGS)
    images = vae.decode(vae.load(os.path.join(options.out, "vae"), options.device), latents)
    P.write_grid(images, os.path.join(options.out, f"samples_{options.name}.png"), columns=count, texts=texts)


def main():
    options = token_training.arguments(argparse.ArgumentParser(description=__doc__), batch=512, rate=1e-3)
    torch.manual_seed(1)
    unet, text_encoder = diffusion_model.build(options.tiny)
    unet.to(memory_format=torch.channels_last)
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if options.device == "cuda" else options.device
    signal, noise_factor = diffusion_model.signal_and_noise(device)
    weights = (RATIO_LIMIT * noise_factor.square()).clamp_max(1)                         # 1 + signal to noise is 1 / noise factor squared

    def diffusion_loss(ids, noisy, steps, target, weight):
        text = diffusion_model.encode_text(text_encoder, ids)
        error = unet(noisy, steps, text, return_dict=False)[0].float() - target
        return (weight * error.square().mean((1, 2, 3))).mean()

    def prepare(latents, ids):
        latents = latents.float()
        steps = torch.randint(0, len(signal), (len(latents),), device=latents.device)
        noise, a, s = torch.randn_like(latents), signal[steps, None, None, None], noise_factor[steps, None, None, None]
        noisy, target = a * latents + s * noise, a * noise - s * latents
        return ids.long(), noisy.contiguous(memory_format=torch.channels_last), steps, target, weights[steps]

    def random_latents(count, device):
        return torch.randn(count, vae.LATENT, vae.SIDE, vae.SIDE, device=device).half()

    token_training.train(options, dict(unet=unet, text_encoder=text_encoder), prepare, diffusion_loss, "clip", weight_decay=0.03,
                         path=shards.latents_path, example=random_latents)
    if not options.smoke and int(os.environ.get("RANK", 0)) == 0:
        write_samples(options)


if __name__ == "__main__":
    main()
