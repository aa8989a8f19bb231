"""Trains the masked model: cross-entropy of hidden tokens, the hidden share cos(u pi / 2).

No label smoothing: the sampler draws from the whole distribution, so a smoothed floor would become wrong tokens.
"""
import argparse
import math

import torch
from torch.nn import functional as F

import masked_model
import token_training
import vqgan


def main():
    options = token_training.arguments(argparse.ArgumentParser(description=__doc__), batch=640, rate=1.6e-3)
    torch.manual_seed(1)
    transformer, text_encoder = masked_model.build(options.tiny)

    def masked_loss(ids, grid, target, masked):
        hidden, pooled = masked_model.encode_text(text_encoder, ids)
        conditions = masked_model.micro_conditions(len(ids), ids.device).contiguous()
        entropy = F.cross_entropy(transformer(grid, hidden, pooled, conditions).float(), target, reduction="none")
        return (entropy * masked).sum() / masked.sum()

    def prepare(tokens, ids):
        target = tokens.long().view(-1, vqgan.SIDE, vqgan.SIDE)
        share = torch.cos(torch.rand(len(target), 1, 1, device=target.device) * math.pi / 2).clamp_min(1 / 256)
        masked = torch.rand(target.shape, device=target.device) < share
        return ids.long(), torch.where(masked, masked_model.MASK, target), target, masked.float()

    token_training.train(options, dict(transformer=transformer, text_encoder=text_encoder), prepare, masked_loss, "clip", weight_decay=0.03)


if __name__ == "__main__":
    main()
