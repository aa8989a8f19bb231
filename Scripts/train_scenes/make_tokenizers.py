"""Trains the two tokenizers on captions: a CLIP-format BPE and a SentencePiece unigram model.

    python make_tokenizers.py OUT      # writes OUT/clip/{vocab.json,merges.txt,tokenizer.json} and OUT/unigram/spiece.model

The checkpoints keep theirs as long as the captions keep their words, so this is not part of run_all.sh.
"""
import json
import os
import sys

import numpy as np
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import captions
import scenes as S

CAPTIONS = 40_000
CLIP_VOCABULARY = 768                                        # at most
UNIGRAM_VOCABULARY = 512                                     # at most
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
EXTRA = [
    "a the an of on in is it to and with one two three left right front behind floor table object shape",
    "sphere ball cube block cylinder cone red orange yellow green cyan blue purple black gray grey white"] * 50


def clip_tokenizer(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_clip(texts, folder):
    """CLIP's order: 256 bytes, 256 bytes that end a word, the merges, two specials."""
    os.makedirs(folder, exist_ok=True)
    options = dict(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix="")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = clip_tokenizer(models.BPE(**options))
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=2000, min_frequency=20, initial_alphabet=alphabet, special_tokens=[], end_of_word_suffix="</w>", show_progress=False))
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    merges = merges[:CLIP_VOCABULARY - 2 * len(alphabet) - 2]
    words = alphabet + [byte + "</w>" for byte in alphabet] + [a + b for a, b in merges]
    vocabulary = {word: i for i, word in enumerate(list(dict.fromkeys(words)) + [START, END])}
    with open(os.path.join(folder, "vocab.json"), "w") as file:
        json.dump(vocabulary, file, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w") as file:
        file.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = clip_tokenizer(models.BPE(vocab=vocabulary, merges=merges, **options))
    tokenizer.add_special_tokens([START, END])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    return len(vocabulary)


def train_unigram(texts, folder):
    os.makedirs(folder, exist_ok=True)
    # The trainer takes as seeds only strings that occur in two different words, so each word is also shown with a mark
    # behind it; with captions alone "large" would fall into letters.
    words = sorted({word.strip(",") for text in texts for word in text.split()})
    marked = [f"{word}, {word}. {word}! {word}" for word in words] * 40
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts + marked), model_prefix=os.path.join(folder, "spiece"), model_type="unigram",
        vocab_size=UNIGRAM_VOCABULARY, hard_vocab_limit=False, byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=1.0, normalization_rule_name="nmt_nfkc_cf", minloglevel=2)
    return sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "spiece.model")).vocab_size()


if __name__ == "__main__":
    out = sys.argv[1]
    scenes = S.sample_scenes(CAPTIONS, 999, held_out=True)
    rng = np.random.default_rng(1)
    texts = [captions.caption(scenes, i, rng)[0] for i in range(CAPTIONS)] + EXTRA
    print("clip", train_clip(texts, os.path.join(out, "clip")), "unigram", train_unigram(texts, os.path.join(out, "unigram")))
