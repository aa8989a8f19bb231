"""Writes the caption ids of every shard, for both tokenizers."""
import argparse
import multiprocessing
import os
import time

import numpy as np

import captions as C
import shards
from training import write_atomically


def make(folder, k, scenes_in_shard):
    scenes, rng = shards.scenes_of(k, scenes_in_shard), np.random.default_rng((7, k))
    tokenizers = {kind: C.CaptionTokenizer(kind) for kind in ("clip", "unigram")}
    ids = {kind: np.empty((scenes_in_shard, shards.CAPTIONS, C.TEXT_LENGTH), np.int16) for kind in tokenizers}
    for i in range(scenes_in_shard):
        for j in range(shards.CAPTIONS):
            text, _ = C.caption(scenes, i, rng)
            for kind, tokenizer in tokenizers.items():
                ids[kind][i, j] = tokenizer(text)

    def write(path):
        with open(path, "wb") as file:                       # a file object: numpy would add a suffix to a name
            np.savez(file, **ids)

    write_atomically(shards.captions_path(folder, k), write)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    shards.add_arguments(arguments)
    arguments.add_argument("--shard-scenes", type=int, default=25_000)
    options = arguments.parse_args()
    os.makedirs(options.out, exist_ok=True)
    began = time.time()
    with multiprocessing.Pool(min(options.shards, os.cpu_count())) as pool:
        pool.starmap(make, [(options.out, k, options.shard_scenes) for k in range(options.shards)], chunksize=1)
    print(f"captions of {options.shards} x {options.shard_scenes} scenes in {time.time() - began:.0f} s", flush=True)
