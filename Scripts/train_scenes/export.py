"""Writes the two checkpoints that ship, in bfloat16, from the files of a run.

    python export.py --run RUN --out Checkpoints

The tokenizers that are in OUT stay. The settings are those that sweep.py chose; diffusers reads the masked folder with
AmusedPipeline and leaves the `generation` entry of its scheduler alone.
"""
import argparse
import json
import os
import shutil

import torch

import masked_model
import parti


def write_json(path, entries):
    with open(path, "w") as file:
        file.write(json.dumps(entries, indent=2) + "\n")


def read_json(path):
    with open(path) as file:
        return json.load(file)


def save_part(model, folder):
    """A diffusers or transformers module, and its configuration without the traces of this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    path = os.path.join(folder, "config.json")
    write_json(path, {k: v for k, v in read_json(path).items() if k != "_name_or_path"})


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", required=True, help="has vqvae, masked.pt, ar.pt, table_masked.json, table_ar.json")
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    run, masked, ar = options.run, os.path.join(options.out, "scenes-masked"), os.path.join(options.out, "scenes-ar")

    from diffusers import VQModel
    save_part(VQModel.from_pretrained(os.path.join(run, "vqvae"), torch_dtype=torch.bfloat16), os.path.join(masked, "vqvae"))
    state = torch.load(os.path.join(run, "masked.pt"), map_location="cpu")
    transformer, text_encoder = masked_model.build(options.tiny)
    transformer.load_state_dict(state["transformer"])
    text_encoder.load_state_dict(state["text_encoder"])
    save_part(transformer, os.path.join(masked, "transformer"))
    save_part(text_encoder, os.path.join(masked, "text_encoder"))
    scheduler = os.path.join(masked, "scheduler", "scheduler_config.json")
    write_json(scheduler, {**read_json(scheduler), "generation": read_json(os.path.join(run, "table_masked.json"))["chosen"]})

    small = dict(d_model=64, num_heads=2, encoder_layers=1, decoder_layers=1) if options.tiny else {}
    model = parti.PartiForImageGeneration(parti.PartiConfig(**small))
    model.load_state_dict(torch.load(os.path.join(run, "ar.pt"), map_location="cpu")["model"])
    parti.save(model, ar, read_json(os.path.join(run, "table_ar.json"))["chosen"])
    link = os.path.join(ar, "vqvae")
    if not os.path.islink(link):
        os.symlink("../scenes-masked/vqvae", link)
    for folder, _, files in os.walk(options.out):
        for name in files:
            if name.endswith(".safetensors"):
                os.chmod(os.path.join(folder, name), 0o644)


if __name__ == "__main__":
    main()
