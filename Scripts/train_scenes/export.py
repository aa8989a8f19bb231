"""Writes the checkpoints that ship, in bfloat16, from the files of a run.

    python export.py --run RUN --out Checkpoints [--models masked ar diffusion]

The tokenizers that are in OUT stay. The settings are those that sweep.py chose; diffusers reads the masked folder with
AmusedPipeline, the diffusion folder with StableDiffusionPipeline, and leaves the `generation` entry of the scheduler alone.
"""
import argparse
import json
import os
import shutil

import diffusers
import torch

import diffusion_model
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
    entries = {k: v for k, v in read_json(path).items() if k != "_name_or_path"}
    if "dtype" in entries:                                   # transformers computes in this type, diffusers in float32 unless told otherwise
        entries["dtype"] = "float32"
    write_json(path, entries)


def export_masked(options):
    run, masked = options.run, os.path.join(options.out, "scenes-masked")
    from diffusers import VQModel
    save_part(VQModel.from_pretrained(os.path.join(run, "vqvae"), torch_dtype=torch.bfloat16), os.path.join(masked, "vqvae"))
    state = torch.load(os.path.join(run, "masked.pt"), map_location="cpu")
    transformer, text_encoder = masked_model.build(options.tiny)
    transformer.load_state_dict(state["transformer"])
    text_encoder.load_state_dict(state["text_encoder"])
    save_part(transformer, os.path.join(masked, "transformer"))
    save_part(text_encoder, os.path.join(masked, "text_encoder"))
    scheduler = os.path.join(masked, "scheduler", "scheduler_config.json")
    write_json(scheduler, {**read_json(scheduler), "generation": chosen(run, "masked")})


def export_ar(options):
    run, ar = options.run, os.path.join(options.out, "scenes-ar")
    small = dict(d_model=64, num_heads=2, encoder_layers=1, decoder_layers=1) if options.tiny else {}
    model = parti.PartiForImageGeneration(parti.PartiConfig(**small))
    model.load_state_dict(torch.load(os.path.join(run, "ar.pt"), map_location="cpu")["model"])
    parti.save(model, ar, chosen(run, "ar"))
    link("../scenes-masked/vqvae", os.path.join(ar, "vqvae"))


def export_diffusion(options):
    """A StableDiffusionPipeline without safety checker."""
    run, folder = options.run, os.path.join(options.out, "scenes-diffusion")
    os.makedirs(os.path.join(folder, "scheduler"), exist_ok=True)
    from diffusers import AutoencoderKL
    save_part(AutoencoderKL.from_pretrained(os.path.join(run, "vae"), torch_dtype=torch.bfloat16), os.path.join(folder, "vae"))
    state = torch.load(os.path.join(run, "diffusion.pt"), map_location="cpu")
    for part, name in zip(diffusion_model.build(options.tiny), ("unet", "text_encoder")):
        part.load_state_dict(state[name])
        save_part(part, os.path.join(folder, name))
    link("../scenes-masked/tokenizer", os.path.join(folder, "tokenizer"))
    settings = chosen(run, "diffusion")
    scheduler = settings.pop("scheduler")
    write_json(os.path.join(folder, "scheduler", "scheduler_config.json"), {
        "_class_name": scheduler, "_diffusers_version": diffusers.__version__, **diffusion_model.fields_of(scheduler), "generation": settings})
    write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__, "feature_extractor": [None, None],
        "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


def chosen(run, name):
    """The settings that sweep.py chose; the diffusion model has some without it, so that it can be looked at before there is a judge."""
    path = os.path.join(run, f"table_{name}.json")
    if name == "diffusion" and not os.path.exists(path):
        print("export.py: no table_diffusion.json, so the settings are those that the sweep would try first")
        return dict(diffusion_model.FIRST_SETTINGS)
    return read_json(path)["chosen"]


def link(target, path):
    if not os.path.islink(path):
        os.symlink(target, path)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", required=True, help="has vqvae, vae, and NAME.pt and table_NAME.json for masked, ar, diffusion")
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--models", nargs="+", default=["masked", "ar", "diffusion"], choices=["masked", "ar", "diffusion"])
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    exports = dict(masked=export_masked, ar=export_ar, diffusion=export_diffusion)
    for name in options.models:
        exports[name](options)
    for folder, _, files in os.walk(options.out):
        for name in files:
            if name.endswith(".safetensors"):
                os.chmod(os.path.join(folder, name), 0o644)


if __name__ == "__main__":
    main()
