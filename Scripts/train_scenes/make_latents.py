"""Renders the shards and writes their latents, which are the means of the autoencoder; the pictures are thrown away.

One that starts before the autoencoder is trained renders `--ahead` shards into the GPU's memory, 200 kB a picture, and waits
with them. Shards that are there already stay.
"""
import argparse
import os
import time

import numpy as np
import torch

import render
import shards
import vae
from training import Ranks, wait_for, write_atomically

TRACER_BATCH, ENCODER_BATCH = 64, 250


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shards.add_arguments(arguments)
    arguments.add_argument("--shard-scenes", type=int, default=25_000)
    arguments.add_argument("--ahead", type=int, default=0)
    arguments.add_argument("--device", default="cuda")
    options = arguments.parse_args()
    os.makedirs(options.out, exist_ok=True)
    ranks = Ranks(options.device)
    missing = [k for k in range(options.shards) if not os.path.exists(shards.latents_path(options.out, k))]
    if ranks.cuda:
        render.compile_span()

    def rendered(k):
        return render.render(shards.scenes_of(k, options.shard_scenes), ranks.device, TRACER_BATCH if ranks.cuda else 4)

    waiting = {k: rendered(k) for k in missing[:options.ahead]}
    ranks.synchronize()
    ranks.say("rendered ahead:", len(waiting))
    folder = os.path.join(options.out, "vae")
    wait_for(folder)
    model = vae.load(folder, ranks.device).to(memory_format=torch.channels_last)
    began = time.time()
    for k in missing:
        pictures = waiting.pop(k) if k in waiting else rendered(k)
        latents = vae.encode(model, pictures, ENCODER_BATCH if ranks.cuda else 4).numpy()
        assert np.isfinite(latents).all()

        def write(path):
            with open(path, "wb") as file:
                np.save(file, latents)

        write_atomically(shards.latents_path(options.out, k), write)
        ranks.say(f"shard {k}: mean {latents.mean():.3f} deviation {latents.astype(np.float32).std():.3f}, {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
