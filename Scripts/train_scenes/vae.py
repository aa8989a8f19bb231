"""The autoencoder of the diffusion model: diffusers' AutoencoderKL, 256 x 256 pixels in [-1, 1] to 4 x 32 x 32 numbers and back.

1.9M parameters. The numbers that are stored have mean 0 and deviation 1 in every channel, so the scaling factor is 1.
"""
import os
import shutil

import torch
from diffusers import AutoencoderKL

LATENT, SIDE = 4, 32
CHANNELS = (32, 64, 96, 80)


def build(tiny=False):
    channels = (16, 16, 16, 16) if tiny else CHANNELS
    model = AutoencoderKL(
        act_fn="silu", in_channels=3, out_channels=3, sample_size=256, layers_per_block=1, norm_num_groups=16,
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * len(channels),
        up_block_types=["UpDecoderBlock2D"] * len(channels), latent_channels=LATENT, mid_block_add_attention=False,
        scaling_factor=1.0, force_upcast=False)
    torch.nn.init.constant_(model.quant_conv.bias[LATENT:], -4)          # little noise at first: pictures come through sooner
    return model


def load(folder, device):
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False).to(device).eval()


def save(model, folder):
    """Writes the folder in bfloat16, under another name first: who waits for it sees it whole."""
    copy = AutoencoderKL.from_config(model.config)
    copy.load_state_dict(model.state_dict())
    shutil.rmtree(folder + ".part", ignore_errors=True)
    copy.to(torch.bfloat16).save_pretrained(folder + ".part")
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(folder + ".part", folder)


def to_signed(pictures):
    return pictures.float().div(127.5).sub(1)


def to_bytes(pixels):
    return ((pixels.float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)


def moments(model, pixels):
    """Mean and logarithm of the variance, (n, 8, 32, 32)."""
    return model.quant_conv(model.encoder(pixels))


@torch.no_grad()
def encode(model, pictures, batch=250, encoder=None):
    """uint8 pictures (n, 3, 256, 256) -> means (n, 4, 32, 32) float16 on the processor."""
    device = model.quant_conv.weight.device
    latents = torch.empty(len(pictures), LATENT, SIDE, SIDE, dtype=torch.float16)
    for i in range(0, len(pictures), batch):
        rows = torch.arange(i, i + batch, device=pictures.device).clamp_max(len(pictures) - 1)       # always full batches
        x = to_signed(pictures[rows].to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            z = encoder(x) if encoder else moments(model, x)
        latents[i:i + batch] = z[:len(latents) - i, :LATENT].half().cpu()
    return latents


@torch.no_grad()
def decode(model, latents, batch=64):
    """Latents (n, 4, 32, 32) -> uint8 pictures on the model's device."""
    device, pictures = model.quant_conv.weight.device, []
    for i in range(0, len(latents), batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            pictures.append(to_bytes(model.decoder(model.post_quant_conv(latents[i:i + batch].float().to(device)))))
    return torch.cat(pictures)


@torch.no_grad()
def standardize(model, latents):
    """Moves mean and deviation of the channels of `latents` into the 1 x 1 convolutions: the pictures stay what they were."""
    latents = latents.float().transpose(0, 1).flatten(1)
    mean, deviation = (t.to(model.quant_conv.weight.device) for t in (latents.mean(1), latents.std(1)))
    before, after = model.quant_conv, model.post_quant_conv
    before.weight[:LATENT] /= deviation[:, None, None, None]
    before.bias[:LATENT] = (before.bias[:LATENT] - mean) / deviation
    before.bias[LATENT:] -= 2 * deviation.log()
    after.bias += after.weight[..., 0, 0] @ mean
    after.weight *= deviation[None, :, None, None]
    return mean.tolist(), deviation.tolist()
