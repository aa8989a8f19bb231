"""The prompts that the table is made of, with their meaning. Their seeds chose nothing else.

    python prompts.py OUT [--count 400] [--seed 31]

OUT/prompts.jsonl has `id`, `prompt`, `seed` a line, as `tti-ar generate --prompts` reads it; OUT/meanings.jsonl has
`id`, `row`, `prompt` and `meaning`, as evaluate.py reads it.
"""
import argparse
import json
import os

import numpy as np

import captions as C
import scenes as S

# row -> (how the scenes are drawn, whether the caption says everything in the plainest wording)
ROWS = {
    "one": (dict(count=1), True),
    "two": (dict(count=2), True),
    "two_free": (dict(count=2), False),
    "three_free": (dict(count=3), False),
    "one_unseen_pair": (dict(count=1, only_held_out=True), True),
}
TABLE_SEED, SWEEP_SEED, GRID_SEED = 31, 7031, 9031           # the table, the choice of settings, the pictures to look at


def prompts(count, seed):
    """row -> (scenes, [(text, Meaning)])."""
    sets = {}
    for k, (row, (options, full)) in enumerate(ROWS.items()):
        scenes = S.sample_scenes(count, seed + k, **options)
        rng = np.random.default_rng(seed + k)
        sets[row] = scenes, [C.caption(scenes, i, rng, full) for i in range(count)]
    return sets


def write(folder, count, seed):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "prompts.jsonl"), "w") as lines, open(os.path.join(folder, "meanings.jsonl"), "w") as meanings:
        for row, (_, entries) in prompts(count, seed).items():
            for i, (text, meaning) in enumerate(entries):
                name = f"{row}-{i:03d}"
                lines.write(json.dumps({"id": name, "prompt": text, "seed": i}) + "\n")
                meanings.write(json.dumps({"id": name, "row": row, "prompt": text, "meaning": meaning.to_dict()}) + "\n")


def read_meanings(folder):
    with open(os.path.join(folder, "meanings.jsonl")) as file:
        entries = [json.loads(line) for line in file]
    for entry in entries:
        entry["meaning"] = C.Meaning.from_dict(entry["meaning"])
    return entries


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out")
    arguments.add_argument("--count", type=int, default=400, help="prompts a row")
    arguments.add_argument("--seed", type=int, default=TABLE_SEED)
    options = arguments.parse_args()
    write(options.out, options.count, options.seed)
