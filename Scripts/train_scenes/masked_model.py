"""The masked model: diffusers' UVit2DModel with a CLIP text encoder, small, and its sampler."""
import torch
from diffusers import AmusedScheduler, UVit2DModel
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import vqgan
from captions import TEXT_LENGTH

MASK = vqgan.CODES
HEAD_WIDTH = 32
MICRO_CONDITIONS = (256.0, 256.0, 0.0, 0.0, 6.0)             # what the stock pipeline passes for 256 x 256


def build(tiny=False):
    """(transformer, text encoder): 5.7M and 0.7M parameters. All 256 places stay at full resolution: no stray specks."""
    width, hidden, middle = (32, 64, 64) if tiny else (128, 192, 512)
    transformer = UVit2DModel(
        hidden_size=hidden, use_bias=False, cond_embed_dim=128, micro_cond_encode_dim=32, micro_cond_embed_dim=160,
        encoder_hidden_size=128, vocab_size=vqgan.CODES + 8, codebook_size=vqgan.CODES, in_channels=128, block_out_channels=width,
        num_res_blocks=1 if tiny else 3, downsample=False, upsample=False, block_num_heads=width // HEAD_WIDTH,
        num_hidden_layers=1 if tiny else 4, num_attention_heads=hidden // HEAD_WIDTH, intermediate_size=middle,
        sample_size=vqgan.SIDE)
    for module in transformer.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    text_encoder = CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=673, hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=TEXT_LENGTH, projection_dim=128, hidden_act="gelu", bos_token_id=671, eos_token_id=672, pad_token_id=672))
    return transformer, text_encoder


def micro_conditions(count, device):
    return torch.tensor([MICRO_CONDITIONS], device=device).expand(count, -1)


def text_layers(model, ids):
    """Hidden states before the last layer of a CLIP text model, and after it.

    The same as model(ids, output_hidden_states=True), written out so that it compiles into one graph.
    """
    x = model.embeddings.token_embedding(ids) + model.embeddings.position_embedding.weight[:ids.shape[1]]
    for layer in model.encoder.layers:
        hidden, attention = x, layer.self_attn
        y = layer.layer_norm1(x)
        queries, keys, values = (projection(y).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
                                 for projection in (attention.q_proj, attention.k_proj, attention.v_proj))
        y = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + attention.out_proj(y.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.layer_norm2(x))
    return hidden, x


def encode_text(text_encoder, ids):
    """The hidden states that the transformer reads (before the last layer, as in the stock pipeline) and the projection."""
    model = text_encoder.text_model
    hidden, x = text_layers(model, ids)
    first_end = (ids == text_encoder.config.eos_token_id).int().argmax(-1)
    pooled = model.final_layer_norm(x)[torch.arange(len(ids), device=ids.device), first_end]
    return hidden, text_encoder.text_projection(pooled)


@torch.no_grad()
def generate(transformer, text_encoder, ids, empty_ids, num_inference_steps=12, guidance_scale=2.0, temperature=(2, 0), seed=0):
    """Prompt ids (n, 40) -> tokens (n, 256), as AmusedPipeline does it."""
    device, count = ids.device, len(ids)
    generator = torch.Generator(device).manual_seed(seed)
    hidden, pooled = encode_text(text_encoder, torch.cat([empty_ids.expand(count, -1), ids]))
    scheduler = AmusedScheduler(mask_token_id=MASK)
    scheduler.set_timesteps(num_inference_steps, tuple(temperature), device)
    grid = torch.full((count, vqgan.SIDE, vqgan.SIDE), MASK, device=device)
    conditions = micro_conditions(2 * count, device)
    for step in scheduler.timesteps:
        unconditional, conditional = transformer(torch.cat([grid, grid]), hidden, pooled, conditions).float().chunk(2)
        logits = unconditional + guidance_scale * (conditional - unconditional)
        grid = scheduler.step(logits, step, grid, generator=generator).prev_sample
    return grid.flatten(1)
