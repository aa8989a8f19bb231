"""The training set of the token models, in shards: files of tokens and of caption ids that belong together.

Shard k holds the scenes `sample_scenes(scenes, SEED + k)`, none with a held-out pair. Who makes the tokens and who makes
the captions both draw the scenes again from the seed, so pictures never travel.
"""
import os

import numpy as np
import torch

import scenes as S
from training import wait_for

SEED = 1000
CAPTIONS = 6                                                 # a scene
VALIDATION = 1024                                            # first scenes of shard 0


def scenes_of(k, scenes):
    return S.sample_scenes(scenes, SEED + k)


def tokens_path(folder, k):
    return os.path.join(folder, f"tokens_{k}.npy")


def captions_path(folder, k):
    return os.path.join(folder, f"captions_{k}.npz")


def load(folder, shards, kind, device):
    """Tokens (n, 256) and caption ids (n, CAPTIONS, 40), int16, on the device; waits for what is not there yet."""
    tokens, captions = [], []
    for k in range(shards):
        for path in (tokens_path(folder, k), captions_path(folder, k)):
            wait_for(path)
        tokens.append(torch.from_numpy(np.load(tokens_path(folder, k))).to(device))
        with np.load(captions_path(folder, k)) as file:
            captions.append(torch.from_numpy(file[kind]).to(device))
    return torch.cat(tokens), torch.cat(captions)


def add_arguments(parser):
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--shards", type=int, default=17)
