"""Chooses the sampling settings that ship, on prompts of their own, and makes the table with PyTorch's samplers.

    python sweep.py --out RUN --model masked --name masked
    python sweep.py --out RUN --model ar --name ar
    python sweep.py --out RUN --model diffusion --name diffusion
    python sweep.py --out RUN --model ar --name ar --share 0/2       # every second setting only: `chosen` then comes from all shares
    python sweep.py --out RUN --model renders          # what the judge says of renders and of VQGAN reconstructions
"""
import argparse
import glob
import json
import os
import time

import numpy as np
import torch

import evaluate
import judge
import pictures as P
import prompts
import render
import scenes as S
import train_vqgan
import vae
import vqgan
from captions import CaptionTokenizer
from picture_loss import pairs
from training import wait_for

AT_ONCE = 600
SETTINGS = {                                                 # the likely ones first: time may end the search
    "masked": [dict(num_inference_steps=steps, guidance_scale=guidance, temperature=[hot, 0.0])
               for steps, guidance, hot in [(12, 2.0, 1.0), (16, 2.0, 1.0), (12, 1.5, 1.0), (16, 1.5, 1.0), (12, 2.5, 1.0), (12, 2.0, 2.0), (20, 2.0, 1.0),
                                            (16, 2.5, 1.0), (12, 2.0, 0.5), (16, 2.0, 0.5), (20, 1.5, 1.0), (16, 2.0, 2.0), (12, 1.5, 2.0)]],
    "ar": [dict(guidance_scale=guidance, temperature=temperature, top_p=top_p)
           for guidance, temperature, top_p in [(1.75, 1.0, 0.9), (1.5, 1.0, 0.9), (1.75, 1.0, 0.8), (2.0, 1.0, 0.9), (1.5, 1.0, 0.8), (2.0, 1.0, 0.8), (1.25, 1.0, 0.8),
                                                (2.0, 1.0, 0.7), (1.75, 1.0, 0.7), (1.75, 1.0, 0.95), (2.5, 1.0, 0.8), (1.5, 0.9, 0.9), (1.75, 0.9, 0.9), (1.5, 1.0, 0.7),
                                                (2.0, 0.9, 0.9), (1.25, 1.0, 0.9), (1.0, 1.0, 0.8), (2.5, 1.0, 0.9)]],
    "diffusion": [dict(scheduler=scheduler, num_inference_steps=steps, guidance_scale=guidance)
                  for scheduler, steps, guidance in [("DPMSolverMultistepScheduler", 20, 2.0), ("DPMSolverMultistepScheduler", 20, 1.5),
                                                     ("DPMSolverMultistepScheduler", 20, 3.0), ("DPMSolverMultistepScheduler", 25, 2.0),
                                                     ("DDIMScheduler", 25, 2.0), ("DPMSolverMultistepScheduler", 25, 1.5),
                                                     ("DPMSolverMultistepScheduler", 20, 2.5), ("DPMSolverMultistepScheduler", 25, 3.0),
                                                     ("DPMSolverMultistepScheduler", 20, 4.0), ("DDIMScheduler", 25, 3.0)]],
}
CHOSEN_BY = ("one", "two", "two_free", "three_free")


class Sampler:
    """Prompts to pictures with the weights of a run."""
    def __init__(self, options, device):
        self.device, self.model = device, options.model
        state = torch.load(os.path.join(options.out, options.name + ".pt"), map_location="cpu")
        rounded = {part: {k: v.bfloat16().float() if v.is_floating_point() else v for k, v in tensors.items()} for part, tensors in state.items()}
        if self.model == "masked":
            import masked_model
            self.tokenizer, self.module = CaptionTokenizer("clip"), masked_model
            self.parts = masked_model.build(options.tiny)
            for part, name in zip(self.parts, ("transformer", "text_encoder")):
                part.load_state_dict(rounded[name])
        elif self.model == "diffusion":
            import diffusion_model
            self.tokenizer, self.module = CaptionTokenizer("clip"), diffusion_model
            self.parts = diffusion_model.build(options.tiny)
            for part, name in zip(self.parts, ("unet", "text_encoder")):
                part.load_state_dict(rounded[name])
        else:
            import parti
            small = dict(d_model=64, num_heads=2, encoder_layers=1, decoder_layers=1) if options.tiny else {}
            self.tokenizer, self.parts = CaptionTokenizer("unigram"), [parti.PartiForImageGeneration(parti.PartiConfig(**small))]
            self.parts[0].load_state_dict(rounded["model"])
        for part in self.parts:
            part.to(device).eval()
        self.empty = torch.tensor(self.tokenizer(""), device=device)

    def codes(self, texts, settings, seed):
        """Tokens or latents."""
        ids = torch.tensor([self.tokenizer(text) for text in texts], device=self.device)
        if self.model in ("masked", "diffusion"):
            return self.module.generate(*self.parts, ids, self.empty, seed=seed, **settings)
        generator = torch.Generator(self.device).manual_seed(seed)
        return self.parts[0].generate(ids, self.empty[None], generator=generator, **settings)

    def pictures(self, autoencoder, texts, settings, seed=0):
        decode = vae.decode if self.model == "diffusion" else vqgan.decode
        parts = [decode(autoencoder, self.codes(texts[i:i + AT_ONCE], settings, seed + i)) for i in range(0, len(texts), AT_ONCE)]
        return torch.cat(parts)


def entries_of(sets, rows=None):
    return [dict(row=row, prompt=text, meaning=meaning) for row, (_, entries) in sets.items() if rows is None or row in rows
            for text, meaning in entries]


def judge_renders(options, detector, vqvae, device):
    sets, result = prompts.prompts(options.count, prompts.TABLE_SEED), {}
    entries = entries_of(sets)
    images = torch.cat([render.render(scenes, device, 64 if device.type == "cuda" else 4) for scenes, _ in sets.values()])
    result["renders"] = evaluate.table(judge.detect(detector, images), entries)
    decoded = vqgan.decode(vqvae, vqgan.encode(vqvae, images, batch=50 if device.type == "cuda" else 4))
    result["reconstructions"] = evaluate.table(judge.detect(detector, decoded), entries)
    return result


def measure_vqgan(options, vqvae, device):
    """PSNR of the stored VQGAN on unseen scenes, and pictures beside their reconstructions."""
    scenes = S.sample_scenes(options.vqgan_count, 77, held_out=True)
    images, masks = render.render(scenes, device, 64 if device.type == "cuda" else 4, with_mask=True)
    table, decoded = train_vqgan.evaluate(vqvae, scenes, images, masks)
    cubes = np.flatnonzero((scenes["shape"][:, 0] == S.CUBE) & (scenes["count"] <= 2))[:24]
    P.write_grid(pairs(images, decoded, cubes), os.path.join(options.out, "vqgan_cubes.png"), columns=8)
    P.write_grid(pairs(images, decoded, np.arange(min(24, len(images)))), os.path.join(options.out, "vqgan_pairs.png"), columns=8)
    return table


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True, help="folder of the run: judge.pt, vqvae or vae, NAME.pt")
    arguments.add_argument("--model", choices=["masked", "ar", "diffusion", "renders"], required=True)
    arguments.add_argument("--name")
    arguments.add_argument("--count", type=int, default=400, help="prompts a row of the table")
    arguments.add_argument("--sweep-count", type=int, default=250, help="prompts a row when choosing")
    arguments.add_argument("--seconds", type=float, default=1e9, help="no new setting is tried after so long")
    arguments.add_argument("--vqgan-count", type=int, default=512, help="scenes to measure the VQGAN on")
    arguments.add_argument("--share", metavar="K/N", help="tries settings K, K + N ... and writes what they gave, no more; a call without it chooses from all shares")
    arguments.add_argument("--quick", action="store_true", help="the first setting only, no table")
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    wait_for(os.path.join(options.out, "judge.pt"))
    detector, report = judge.load(os.path.join(options.out, "judge.pt"), device), {}

    def write():
        with open(os.path.join(options.out, f"table_{options.name or options.model}.json"), "w") as file:
            json.dump(report, file, indent=1)

    if options.model == "renders":
        vqvae = vqgan.load(os.path.join(options.out, "vqvae"), device)
        report = judge_renders(options, detector, vqvae, device)
        for name, rows in report.items():
            print(f"{name}\n{evaluate.markdown(rows)}", flush=True)
        report["vqgan"] = measure_vqgan(options, vqvae, device)
        print(report["vqgan"], flush=True)
        write()
        return

    wait_for(os.path.join(options.out, options.name + ".done"))              # may be started while it trains
    began = time.time()
    autoencoder = vae.load(os.path.join(options.out, "vae"), device) if options.model == "diffusion" else vqgan.load(os.path.join(options.out, "vqvae"), device)
    sampler = Sampler(options, device)
    entries = entries_of(prompts.prompts(options.sweep_count, prompts.SWEEP_SEED), CHOSEN_BY)
    share, shares = map(int, (options.share or "0/1").split("/"))
    parts = glob.glob(os.path.join(options.out, f"tried_{options.name}_*.json")) if not options.share else []
    tried = [tuple(entry) for path in parts for entry in json.load(open(path))]
    for settings in SETTINGS[options.model][share:1 if options.quick else None:shares] if not tried else []:
        if tried and time.time() - began > options.seconds:
            break
        images = sampler.pictures(autoencoder, [entry["prompt"] for entry in entries], settings)
        rows = evaluate.table(judge.detect(detector, images), entries)
        tried.append((round(sum(rows[row]["all"] for row in CHOSEN_BY), 2), settings, {row: rows[row]["all"] for row in rows}))
        print(f"{time.time() - began:5.1f} s", settings, tried[-1][2], {row: rows[row]["count"] for row in rows}, flush=True)
    if options.share:
        with open(os.path.join(options.out, f"tried_{options.name}_{share}.json"), "w") as file:
            json.dump(tried, file)
        return
    best = max(tried, key=lambda t: t[0])
    report = dict(tried=tried, chosen=best[1])
    write()
    if options.quick:
        return
    print("chosen", best[1], flush=True)
    entries = entries_of(prompts.prompts(options.count, prompts.TABLE_SEED))
    images = sampler.pictures(autoencoder, [entry["prompt"] for entry in entries], best[1], seed=1000)
    found = judge.detect(detector, images)
    report["rows"] = evaluate.table(found, entries)
    print(evaluate.markdown(report["rows"]), f"\n{time.time() - began:.0f} s", flush=True)
    write()
    shown = [i * options.count + j for i in range(len(prompts.ROWS)) for j in range(min(6, options.count))]
    P.write_grid(images[shown], os.path.join(options.out, f"grid_{options.name}.png"), columns=6, texts=[entries[i]["prompt"] for i in shown])


if __name__ == "__main__":
    main()
