"""Parti in PyTorch: the twin of the Swift model and the oracle of its tests.

An encoder reads the prompt, a decoder writes image tokens in raster order (Yu et al. 2022, "Scaling Autoregressive
Models for Content-Rich Text-to-Image Generation"). Pre-norm blocks, a two-matrix MLP, learnt positions, a final norm on
both sides. The names in `state_dict()` are the names in the checkpoint; they are mBART's. The file needs nothing but
torch, and safetensors to load.

    model = parti.load("Checkpoints/scenes-ar")
    logits = model(input_ids, image_tokens)                  # teacher-forced, [batch, tokens, codes]
    tokens = model.generate(input_ids, empty_ids, greedy=True)
"""
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from typing import Optional

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class PartiConfig:
    vocab_size: int = 345
    image_vocab_size: int = 1024
    max_text_length: int = 40
    image_height: int = 16
    image_width: int = 16
    d_model: int = 192
    encoder_layers: int = 2
    decoder_layers: int = 8
    encoder_ffn_dim: int = 768
    decoder_ffn_dim: int = 768
    num_heads: int = 6
    activation_function: str = "gelu"
    layer_norm_eps: float = 1e-5
    use_bias: bool = False
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 1024
    conv_attention_window: Optional[int] = None

    @property
    def image_tokens(self):
        return self.image_height * self.image_width

    @classmethod
    def from_dict(cls, entries):
        return cls(**{f.name: entries[f.name] for f in fields(cls) if f.name in entries})


def activation(name):
    return {"gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}[name]


def causal_mask(config, device=None):
    """True where query i may see input j, [tokens, tokens]. Input 0 is the start token, input j > 0 is image token j - 1.

    With a window of k, a query sees the start token and those earlier inputs in the k x k neighbourhood of its own
    place, input i standing at row i / width, column i mod width.
    """
    index = torch.arange(config.image_tokens, device=device)
    visible = index[None, :] <= index[:, None]
    if config.conv_attention_window is not None:
        reach = config.conv_attention_window // 2
        row, column = index // config.image_width, index % config.image_width
        near = ((row[:, None] - row[None, :]).abs() <= reach) & ((column[:, None] - column[None, :]).abs() <= reach)
        visible &= near | (index[None, :] == 0)
    return visible


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.d_model
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(width, width, bias=config.use_bias)
        self.k_proj = nn.Linear(width, width, bias=config.use_bias)
        self.v_proj = nn.Linear(width, width, bias=config.use_bias)
        self.out_proj = nn.Linear(width, width, bias=config.use_bias)

    def heads(self, x):                                      # [batch, length, width] -> [batch, heads, length, head width]
        return x.view(x.shape[0], x.shape[1], self.num_heads, -1).transpose(1, 2)

    def keys_values(self, x):
        return self.heads(self.k_proj(x)), self.heads(self.v_proj(x))

    def attend(self, x, keys, values, mask=None, is_causal=False):
        y = F.scaled_dot_product_attention(self.heads(self.q_proj(x)), keys, values, attn_mask=mask, is_causal=is_causal)
        return self.out_proj(y.transpose(1, 2).reshape(x.shape))

    def forward(self, x, source=None, mask=None, is_causal=False):
        keys, values = self.keys_values(x if source is None else source)
        return self.attend(x, keys, values, mask, is_causal)


class EncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config.d_model, config.layer_norm_eps
        self.self_attn_layer_norm = nn.LayerNorm(width, eps)
        self.self_attn = Attention(config)
        self.final_layer_norm = nn.LayerNorm(width, eps)
        self.fc1 = nn.Linear(width, config.encoder_ffn_dim, bias=config.use_bias)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, width, bias=config.use_bias)
        self.activation = activation(config.activation_function)

    def forward(self, x, mask):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask=mask)
        return x + self.fc2(self.activation(self.fc1(self.final_layer_norm(x))))


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config.d_model, config.layer_norm_eps
        self.self_attn_layer_norm = nn.LayerNorm(width, eps)
        self.self_attn = Attention(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(width, eps)
        self.encoder_attn = Attention(config)
        self.final_layer_norm = nn.LayerNorm(width, eps)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim, bias=config.use_bias)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width, bias=config.use_bias)
        self.activation = activation(config.activation_function)

    def feed_forward(self, x):
        return self.fc2(self.activation(self.fc1(self.final_layer_norm(x))))

    def forward(self, x, text, text_mask, mask=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask=mask, is_causal=mask is None)
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), text, text_mask)
        return x + self.feed_forward(x)

    def step(self, x, cache, position, text_keys, text_values, text_mask, mask=None):
        """One token, x [batch, 1, width]; writes its key and value at `position` of cache [2, batch, heads, tokens, head width]."""
        y = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.keys_values(y)
        cache[0][:, :, position], cache[1][:, :, position] = keys[:, :, 0], values[:, :, 0]
        seen = slice(0, position + 1)
        row = None if mask is None else mask[position:position + 1, seen]
        x = x + self.self_attn.attend(y, cache[0][:, :, seen], cache[1][:, :, seen], row)
        x = x + self.encoder_attn.attend(self.encoder_attn_layer_norm(x), text_keys, text_values, text_mask)
        return x + self.feed_forward(x)


class Stack(nn.Module):
    """Embeddings, layers and final norm of one side."""
    def __init__(self, config, layer, layers, vocabulary, length):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, config.d_model)
        self.embed_positions = nn.Embedding(length, config.d_model)
        self.layers = nn.ModuleList(layer(config) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(config.d_model, config.layer_norm_eps)


class PartiForImageGeneration(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Stack(config, EncoderLayer, config.encoder_layers, config.vocab_size, config.max_text_length)
        self.decoder = Stack(config, DecoderLayer, config.decoder_layers, config.image_vocab_size + 1, config.image_tokens)
        self.lm_head = nn.Linear(config.d_model, config.image_vocab_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self):
        for name, p in self.named_parameters():
            if p.ndim < 2:
                continue                                     # norms keep 1 and 0
            if "embed_positions" in name or "lm_head" in name:
                std = 0.02
            elif "embed_tokens" in name:
                std = 0.05
            else:
                std = 1 / math.sqrt(p.shape[1])
                if name.endswith(("out_proj.weight", "fc2.weight")):     # residual branches begin small
                    branches = 3 * self.config.decoder_layers if "decoder" in name else 2 * self.config.encoder_layers
                    std /= math.sqrt(branches)
            nn.init.normal_(p, std=std)

    def encode(self, input_ids):
        """input_ids [batch, text] -> (hidden [batch, text, width], mask [batch, 1, 1, text])."""
        mask = (input_ids != self.config.pad_token_id)[:, None, None, :]
        x = self.encoder.embed_tokens(input_ids) + self.encoder.embed_positions.weight[:input_ids.shape[1]]
        for layer in self.encoder.layers:
            x = layer(x, mask)
        return self.encoder.layer_norm(x), mask

    def forward(self, input_ids, image_tokens):
        """Teacher-forced logits [batch, tokens, codes]: position i predicts image_tokens[:, i]."""
        text, text_mask = self.encode(input_ids)
        start = torch.full_like(image_tokens[:, :1], self.config.decoder_start_token_id)
        inputs = torch.cat([start, image_tokens[:, :-1]], 1)
        x = self.decoder.embed_tokens(inputs) + self.decoder.embed_positions.weight[:inputs.shape[1]]
        mask = None if self.config.conv_attention_window is None else causal_mask(self.config, x.device)
        for layer in self.decoder.layers:
            x = layer(x, text, text_mask, mask)
        return self.lm_head(self.decoder.layer_norm(x))

    @torch.no_grad()
    def generate(self, input_ids, empty_ids=None, guidance_scale=1.0, temperature=1.0, top_k=0, top_p=1.0, greedy=False,
                 generator=None, return_logits=False):
        """Image tokens [batch, tokens], one by one through a key-value cache.

        Guided logits are u + guidance_scale * (c - u) with u from the empty prompt, then divided by the temperature,
        cut to the top k, then to the smallest set that holds top_p of the probability.
        """
        config, count = self.config, len(input_ids)
        guided = guidance_scale != 1.0
        if guided:
            input_ids = torch.cat([empty_ids.expand(count, -1), input_ids])
        text, text_mask = self.encode(input_ids)
        text_cache = [layer.encoder_attn.keys_values(text) for layer in self.decoder.layers]
        shape = (2, len(input_ids), config.num_heads, config.image_tokens, config.d_model // config.num_heads)
        caches = [torch.zeros(shape, dtype=text_cache[0][0].dtype, device=text.device) for _ in self.decoder.layers]
        mask = None if config.conv_attention_window is None else causal_mask(config, text.device)
        token = torch.full((count, 1), config.decoder_start_token_id, device=text.device)
        tokens, all_logits = [], []
        for position in range(config.image_tokens):
            x = self.decoder.embed_tokens(token) + self.decoder.embed_positions.weight[position]
            if guided:
                x = torch.cat([x, x])
            for layer, cache, (keys, values) in zip(self.decoder.layers, caches, text_cache):
                x = layer.step(x, cache, position, keys, values, text_mask, mask)
            logits = self.lm_head(self.decoder.layer_norm(x)).float()[:, 0]
            if guided:
                unconditional, conditional = logits.chunk(2)
                logits = unconditional + guidance_scale * (conditional - unconditional)
            if return_logits:
                all_logits.append(logits)
            token = logits.argmax(-1, keepdim=True) if greedy else sample_token(logits, temperature, top_k, top_p, generator)
            tokens.append(token)
        tokens = torch.cat(tokens, 1)
        return (tokens, torch.stack(all_logits, 1)) if return_logits else tokens


def sample_token(logits, temperature, top_k, top_p, generator):
    logits = logits / temperature
    if top_k:
        logits = logits.masked_fill(logits < logits.topk(top_k)[0][:, -1:], -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ordered, index = probabilities.sort(-1, descending=True)
        ordered[(ordered.cumsum(-1) - ordered) > top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter_(1, index, ordered)
    return torch.multinomial(probabilities, 1, generator=generator)


def load(folder, dtype=torch.float32):
    """The model of a checkpoint folder, ready to use."""
    from safetensors.torch import load_file
    with open(os.path.join(folder, "transformer", "config.json")) as file:
        config = PartiConfig.from_dict(json.load(file))
    model = PartiForImageGeneration(config)
    tensors = load_file(os.path.join(folder, "transformer", "model.safetensors"))
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    absent = [name for name in missing if not name.endswith("bias")]
    if absent or unexpected:
        raise ValueError(f"{folder}: missing {absent}, unexpected {unexpected}")
    for name, p in model.named_parameters():
        if name in missing:                                  # an absent bias is zero
            nn.init.zeros_(p)
    return model.to(dtype).eval()


def save(model, folder, generation):
    """Writes the transformer folder of a pipeline, in bfloat16."""
    from safetensors.torch import save_file
    folder = os.path.join(folder, "transformer")
    os.makedirs(folder, exist_ok=True)
    tensors = {name: t.detach().to(torch.bfloat16).cpu().contiguous() for name, t in model.state_dict().items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {"model_type": "parti", **asdict(model.config), "generation": generation}
    with open(os.path.join(folder, "config.json"), "w") as file:
        file.write(json.dumps(config, indent=2) + "\n")
