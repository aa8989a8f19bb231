"""Captions with their meaning, and their token ids.

`caption` returns the text together with what it says: which attributes of which objects, which relations, which floor.
The judge holds a picture against the meaning, so nothing has to be read back from words. In training, attributes are
dropped, adjectives change places and words have synonyms; with `full` everything is said in the plainest wording.
"""
import os
from dataclasses import asdict, dataclass, field
from typing import List, Optional

import numpy as np

import scenes as S

TEXT_LENGTH = 40
HERE = os.path.dirname(os.path.abspath(__file__))
CHECKPOINTS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "Checkpoints")

SIZE_WORDS = [["small", "small", "little"], ["large", "large", "big"]]
MATERIAL_WORDS = [["matte", "matte", "dull"], ["shiny", "shiny", "glossy"]]
SHAPE_WORDS = [["sphere", "sphere", "ball"], ["cube", "cube", "block"], ["cylinder"], ["cone"]]
FLOOR_PHRASES = [
    ["on a gray floor", "on a grey floor", "on a gray table"],
    ["on a white floor", "on a white table", "on a white floor"],
    ["on a wooden floor", "on a wooden table", "on wood"],
    ["on a checkered floor", "on a checkered floor", "on a checkerboard"]]
RELATION_PHRASES = {
    "left": ["to the left of", "left of", "on the left of"], "right": ["to the right of", "right of", "on the right of"],
    "front": ["in front of"], "behind": ["behind"]}
ITS_PHRASES = {
    "left": ["to its left", "on its left"], "right": ["to its right", "on its right"],
    "front": ["in front of it"], "behind": ["behind it"]}
OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}
OPENINGS = ["a photo of", "a picture of", "an image of", "a rendering of", "there is"]


@dataclass
class Meaning:
    """What a caption says. Objects name only what was said (None otherwise); a relation is (a, name, b)."""
    objects: List[dict] = field(default_factory=list)
    relations: List[tuple] = field(default_factory=list)
    floor: Optional[int] = None

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, entries):
        return cls(entries["objects"], [tuple(r) for r in entries["relations"]], entries["floor"])


def pick(rng, options, plain=False):
    return options[0 if plain else rng.integers(len(options))]


def clear_relation(scenes, i, a, b, rng):
    """A relation of object a to object b that nobody would dispute, or None."""
    dx, dy = scenes["x"][i, a] - scenes["x"][i, b], scenes["y"][i, a] - scenes["y"][i, b]
    sideways, in_depth = max(abs(dx) - 0.55, 0), max(abs(dy) - 0.65, 0)
    if sideways + in_depth <= 0:
        return None
    if rng.random() < sideways / (sideways + in_depth):
        return "left" if dx < 0 else "right"
    return "front" if dy < 0 else "behind"


def describe(scenes, i, k, rng, article, full):
    """Words for one object, and what they say of it."""
    said = dict(shape=int(scenes["shape"][i, k]), color=None, size=None, material=None)
    adjectives = []
    chance = rng.random(5)
    if full or chance[0] < 0.62:
        said["size"] = int(scenes["size"][i, k])
        adjectives.append(pick(rng, SIZE_WORDS[said["size"]], full))
    if full or chance[1] < 0.58:
        said["material"] = int(scenes["material"][i, k])
        adjectives.append(pick(rng, MATERIAL_WORDS[said["material"]], full))
    if full or chance[2] < 0.95:
        said["color"] = int(scenes["color"][i, k])
        adjectives.append(S.COLORS[said["color"]])
    if not full and chance[3] < 0.15:
        rng.shuffle(adjectives)
    noun = pick(rng, SHAPE_WORDS[said["shape"]], full)
    if not full and chance[4] < 0.03 and adjectives:
        said["shape"], noun = None, "object"
    text = " ".join(adjectives + [noun])
    if article == "a":
        text = ("an " if text[0] in "aeiou" else "a ") + text
    elif article:
        text = f"{article} {text}"
    return text, said


def caption(scenes, i, rng, full=False):
    """A caption of scene i and its Meaning. Every object of the scene is mentioned."""
    count = int(scenes["count"][i])
    article = "a" if full or rng.random() < 0.72 else ("" if rng.random() < 0.8 else "one")
    order = rng.permutation(count)
    texts, objects = map(list, zip(*(describe(scenes, i, k, rng, article, full) for k in order)))
    if count == 1:
        text, relations = texts[0], []
    elif count == 2:
        text, relations = caption_two(scenes, i, order, texts, rng, full)
    else:
        text, relations = caption_three(scenes, i, order, texts, objects, rng)
    floor = None
    if full or rng.random() < 0.66:
        floor = int(scenes["floor"][i])
        text += " " + pick(rng, FLOOR_PHRASES[floor], full)
    if not full and rng.random() < 0.3:
        text = f"{pick(rng, OPENINGS)} {text}"
    return text, Meaning(objects, relations, floor)


def caption_two(scenes, i, order, texts, rng, full):
    a, b = texts
    relation = clear_relation(scenes, i, order[0], order[1], rng) if full or rng.random() < 0.85 else None
    if relation is None:
        return a + (" and " if rng.random() < 0.8 else ", ") + b, []
    said = [(0, relation, 1)]
    wording = rng.random()
    if full or wording < 0.68:
        verb = "is " if not full and rng.random() < 0.08 else ""
        return f"{a} {verb}{pick(rng, RELATION_PHRASES[relation], full)} {b}", said
    if wording < 0.84:
        return f"{a} with {b} {pick(rng, ITS_PHRASES[OPPOSITE[relation]])}", said
    if relation in ("left", "right"):
        return f"{a} on the {relation} and {b} on the {OPPOSITE[relation]}", said
    return f"{a} {RELATION_PHRASES[relation][0]} {b}", said


def caption_three(scenes, i, order, texts, objects, rng):
    """Reorders `texts` and `objects` in place when the caption goes from left to right."""
    x = scenes["x"][i, order]
    kind = rng.random()
    first = clear_relation(scenes, i, order[0], order[1], rng)
    if kind < 0.22 and min(np.diff(np.sort(x))) > 0.45:
        rank = np.argsort(x)
        texts[:], objects[:] = [texts[j] for j in rank], [objects[j] for j in rank]
        return f"{texts[0]}, {texts[1]} and {texts[2]} from left to right", [(0, "left", 1), (1, "left", 2)]
    if kind < 0.72 and first is not None:
        text, said = f"{texts[0]} {pick(rng, RELATION_PHRASES[first])} {texts[1]}", [(0, first, 1)]
        anchor = int(rng.integers(2))
        second = clear_relation(scenes, i, order[2], order[anchor], rng)
        color, shape = objects[anchor]["color"], objects[anchor]["shape"]
        if second is None or color is None or shape is None:
            return f"{text} and {texts[2]}", said
        words = pick(rng, RELATION_PHRASES[second])
        return f"{text} and {texts[2]} {words} the {S.COLORS[color]} {S.SHAPES[shape]}", said + [(2, second, anchor)]
    return f"{texts[0]}, {texts[1]} and {texts[2]}", []


class CaptionTokenizer:
    """Text to TEXT_LENGTH padded ids. Captions are words and commas apart, so words are encoded once and remembered."""
    def __init__(self, kind, folder=None):
        self.known = {}
        if kind == "clip":
            from tokenizers import Tokenizer
            tokenizer = Tokenizer.from_file(os.path.join(folder or os.path.join(CHECKPOINTS, "scenes-masked", "tokenizer"), "tokenizer.json"))
            self.encode_word = lambda word: tokenizer.encode(word, add_special_tokens=False).ids
            self.begin, self.end = [tokenizer.token_to_id("<|startoftext|>")], tokenizer.token_to_id("<|endoftext|>")
            self.pad = self.end
        elif kind == "unigram":
            from sentencepiece import SentencePieceProcessor
            pieces = SentencePieceProcessor(model_file=os.path.join(folder or os.path.join(CHECKPOINTS, "scenes-ar", "tokenizer"), "spiece.model"))
            self.encode_word = pieces.encode
            self.begin, self.end, self.pad = [], pieces.eos_id(), pieces.pad_id()
        else:
            raise ValueError(kind)

    def __call__(self, text):
        ids = list(self.begin)
        for word in text.split():
            if word not in self.known:
                self.known[word] = self.encode_word(word)
            ids += self.known[word]
        ids = ids[:TEXT_LENGTH - 1] + [self.end]
        return ids + [self.pad] * (TEXT_LENGTH - len(ids))
