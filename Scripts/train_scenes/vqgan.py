"""The VQGAN: diffusers' VQModel, 256 x 256 pixels in [0, 1] to 16 x 16 of 1024 codes and back. 5.1M parameters."""
import os

import torch
from diffusers import VQModel

CODES = 1024
LATENT = 16
SIDE = 16                                                    # tokens
CHANNELS = (32, 64, 96, 128, 144)


def build(tiny=False):
    channels = (16, 16, 16, 16, 16) if tiny else CHANNELS
    return VQModel(
        act_fn="silu", in_channels=3, out_channels=3, sample_size=32, layers_per_block=1, norm_num_groups=16,
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * len(channels),
        up_block_types=["UpDecoderBlock2D"] * len(channels), latent_channels=LATENT, vq_embed_dim=LATENT,
        num_vq_embeddings=CODES, lookup_from_codebook=True, mid_block_add_attention=False)


def load(folder, device):
    return VQModel.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False).to(device).eval()


def save(model, folder):
    """Writes the folder in bfloat16, under another name first: who waits for it sees it whole."""
    copy = VQModel.from_config(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(folder + ".part")
    os.rename(folder + ".part", folder)


def to_unit(pictures):
    return pictures.float().div(255)


def to_bytes(pixels):
    return (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8)


def nearest(vectors, codebook):
    """Ids of the codes nearest to vectors (n, LATENT), in float32."""
    return (codebook.square().sum(1) - 2 * vectors @ codebook.t()).argmin(1)


@torch.no_grad()
def encode(model, pictures, batch=256, encoder=None):
    """uint8 pictures (n, 3, 256, 256) -> tokens (n, 256) int16 on the processor."""
    codebook, device = model.quantize.embedding.weight.float(), model.quantize.embedding.weight.device
    encoder = encoder or (lambda x: model.quant_conv(model.encoder(x)))
    tokens = torch.empty(len(pictures), SIDE * SIDE, dtype=torch.int16)
    for i in range(0, len(pictures), batch):
        rows = torch.arange(i, i + batch, device=pictures.device).clamp_max(len(pictures) - 1)       # always full batches
        x = to_unit(pictures[rows].to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            z = encoder(x)
        ids = nearest(z.float().permute(0, 2, 3, 1).reshape(-1, LATENT), codebook).view(-1, SIDE * SIDE)
        tokens[i:i + batch] = ids[:len(tokens) - i].short().cpu()
    return tokens


@torch.no_grad()
def decode(model, tokens, batch=64):
    """tokens (n, 256) -> uint8 pictures on the model's device."""
    codebook = model.quantize.embedding.weight
    pictures = []
    for i in range(0, len(tokens), batch):
        z = codebook[tokens[i:i + batch].long().to(codebook.device)].view(-1, SIDE, SIDE, LATENT).permute(0, 3, 1, 2)
        with torch.autocast(codebook.device.type, torch.bfloat16, enabled=codebook.device.type == "cuda"):
            pictures.append(to_bytes(model.decoder(model.post_quant_conv(z))))
    return torch.cat(pictures)
