"""Trains the autoregressive model: cross-entropy of every token given the prompt and the tokens before it."""
import argparse

import torch
from torch.nn import functional as F

import parti
import token_training


def main():
    options = token_training.arguments(argparse.ArgumentParser(description=__doc__), batch=384, rate=1.6e-3)
    torch.manual_seed(1)
    small = dict(d_model=64, num_heads=2, encoder_layers=1, decoder_layers=1) if options.tiny else {}
    model = parti.PartiForImageGeneration(parti.PartiConfig(**small))

    def next_token_loss(ids, tokens):
        return F.cross_entropy(model(ids, tokens).float().flatten(0, 1), tokens.flatten())

    def prepare(tokens, ids):
        return ids.long(), tokens.long()

    token_training.train(options, dict(model=model), prepare, next_token_loss, "unigram", weight_decay=0.05)


if __name__ == "__main__":
    main()
