"""The training set of the text-to-image models, in shards: files of tokens or latents, and of caption ids, that belong together.

Shard k holds the scenes `sample_scenes(scenes, SEED + k)`, none with a held-out pair. Who makes the tokens or latents and who
makes the captions both draw the scenes again from the seed, so pictures never travel.
"""
import os

import numpy as np
import torch

import scenes as S
from training import wait_for

SEED = int(os.environ.get("SHARD_SEED", 1000))                # another seed: scenes that were not seen before
CAPTIONS = 6                                                 # a scene
VALIDATION = 1024                                            # first scenes of shard 0


def scenes_of(k, scenes):
    return S.sample_scenes(scenes, SEED + k)


def tokens_path(folder, k):
    return os.path.join(folder, f"tokens_{k}.npy")


def latents_path(folder, k):
    return os.path.join(folder, f"latents_{k}.npy")


def captions_path(folder, k):
    return os.path.join(folder, f"captions_{k}.npz")


class TokenSet:
    """Tokens (n, 256) int16, or latents (n, 4, 32, 32) float16, and caption ids (n, CAPTIONS, 40) int16, on the device.

    It grows as shards appear.
    """
    def __init__(self, folder, shards, kind, device, path=tokens_path):
        self.folder, self.kind, self.device, self.path = folder, kind, device, path
        self.pending, self.tokens, self.captions = list(range(shards)), None, None
        for needed in (path(folder, 0), captions_path(folder, 0)):           # the first shard has the validation scenes
            wait_for(needed)
        self.grow()

    def grow(self):
        """Takes in the shards that are there by now."""
        ready = [k for k in self.pending if os.path.exists(self.path(self.folder, k)) and os.path.exists(captions_path(self.folder, k))]
        if not ready:
            return
        tokens, captions = ([] if part is None else [part] for part in (self.tokens, self.captions))
        for k in ready:
            tokens.append(torch.from_numpy(np.load(self.path(self.folder, k))).to(self.device))
            with np.load(captions_path(self.folder, k)) as file:
                captions.append(torch.from_numpy(file[self.kind]).to(self.device))
            if len(tokens[-1]) != len(captions[-1]):
                raise SystemExit(f"shard {k} has {len(tokens[-1])} pictures and captions of {len(captions[-1])}: make both with one --shard-scenes")
        self.tokens, self.captions = torch.cat(tokens), torch.cat(captions)
        self.pending = [k for k in self.pending if k not in ready]

    def __len__(self):
        return len(self.tokens)


def add_arguments(parser):
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--shards", type=int, default=17)
