"""Judges pictures against their prompts and prints the table.

    python evaluate.py --prompts FOLDER --pictures FOLDER --judge judge.pt [--out table.json] [--grid grid.png]

FOLDER of prompts is what prompts.py wrote; the pictures are named after the prompts' ids: one-000.png. A prompt whose
picture is missing counts as wrong.
"""
import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor

import torch

import judge
import pictures as P
import prompts

NOTHING = ([], -1)                                           # what is found in a picture that is not there


def table(found, entries):
    """row -> score, for what was found in the picture of each entry."""
    rows = {}
    for row in dict.fromkeys(entry["row"] for entry in entries):
        chosen = [i for i, entry in enumerate(entries) if entry["row"] == row]
        rows[row] = judge.score([found[i] for i in chosen], [entries[i]["meaning"] for i in chosen])
    return rows


def markdown(rows):
    kinds = list(next(iter(rows.values())))
    lines = ["| prompts | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join("" if row[kind] is None else str(row[kind]) for kind in kinds) + " |")
    return "\n".join(lines)


def judge_folder(detector, folder, entries):
    """(found, ids of missing pictures)."""
    paths = [os.path.join(folder, entry["id"] + ".png") for entry in entries]
    present = [i for i, path in enumerate(paths) if os.path.exists(path)]
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda i: P.read(paths[i]), present))
    found = [NOTHING] * len(entries)
    if images:
        for i, result in zip(present, judge.detect(detector, torch.stack(images))):
            found[i] = result
    return found, [entries[i]["id"] for i in range(len(entries)) if i not in set(present)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prompts", required=True)
    arguments.add_argument("--pictures", required=True)
    arguments.add_argument("--judge", required=True)
    arguments.add_argument("--out")
    arguments.add_argument("--grid", help="writes a grid of the first pictures of each row")
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = arguments.parse_args()
    entries = prompts.read_meanings(options.prompts)
    found, missing = judge_folder(judge.load(options.judge, options.device), options.pictures, entries)
    rows = table(found, entries)
    print(markdown(rows))
    if missing:
        print(f"{len(missing)} pictures are missing: {', '.join(missing[:5])} ...")
    if options.out:
        wrong = [e["id"] for f, e in zip(found, entries) if not all(all(v) for v in judge.verdict(f, e["meaning"]).values())]
        with open(options.out, "w") as file:
            json.dump(dict(rows=rows, missing=len(missing), wrong=wrong), file, indent=1)
    if options.grid:
        shown = [e for e in entries if int(e["id"].rsplit("-", 1)[1]) < 6 and e["id"] not in set(missing)]
        images = torch.stack([P.read(os.path.join(options.pictures, e["id"] + ".png")) for e in shown])
        P.write_grid(images, options.grid, columns=6, texts=[e["prompt"] for e in shown])


if __name__ == "__main__":
    main()
