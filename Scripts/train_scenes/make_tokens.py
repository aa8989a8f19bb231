"""Renders the shards and writes their tokens; the pictures are thrown away.

Any number of these run beside each other, one a GPU: a shard belongs to whoever first creates its claim file. One that
starts before the VQGAN is trained renders up to `--ahead` shards into memory and waits with them.
"""
import argparse
import os
import time

import numpy as np
import torch

import render
import shards
import vqgan
from training import Ranks, wait_for, write_atomically

TRACER_BATCH, ENCODER_BATCH = 64, 250


def claims(folder, count):
    """Shards that nobody else makes, one by one."""
    for k in range(count):
        try:
            os.close(os.open(os.path.join(folder, f"claim_{k}"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        yield k


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shards.add_arguments(arguments)
    arguments.add_argument("--shard-scenes", type=int, default=25_000)
    arguments.add_argument("--vqgan", required=True, help="folder; waited for")
    arguments.add_argument("--ahead", type=int, default=0)
    arguments.add_argument("--device", default="cuda")
    options = arguments.parse_args()
    os.makedirs(options.out, exist_ok=True)
    ranks = Ranks(options.device)
    device = ranks.device
    if ranks.cuda:
        render.compile_span()

    def rendered(k):
        return render.render(shards.scenes_of(k, options.shard_scenes), device, TRACER_BATCH if ranks.cuda else 4)

    render.render(shards.scenes_of(0, 2), device, TRACER_BATCH if ranks.cuda else 2)         # compiles
    unclaimed = claims(options.out, options.shards)
    waiting = []
    for _ in range(options.ahead):
        k = next(unclaimed, None)
        if k is not None:
            waiting.append((k, rendered(k)))
    ranks.synchronize()
    ranks.say("rendered ahead:", len(waiting))
    wait_for(options.vqgan)
    model = vqgan.load(options.vqgan, device).to(memory_format=torch.channels_last)
    encoder = (lambda x: model.quant_conv(model.encoder(x)))
    if options.ahead:                                        # there was time to compile
        encoder = ranks.compile(encoder)
    began, made = time.time(), 0

    def make(k, pictures):
        tokens = vqgan.encode(model, pictures, ENCODER_BATCH if ranks.cuda else 4, encoder).numpy()

        def write(path):
            with open(path, "wb") as file:
                np.save(file, tokens)

        write_atomically(shards.tokens_path(options.out, k), write)

    while waiting:
        make(*waiting.pop())
        made += 1
    for k in unclaimed:
        make(k, rendered(k))
        made += 1
    ranks.say(f"{made} shards in {time.time() - began:.0f} s after the VQGAN")


if __name__ == "__main__":
    main()
