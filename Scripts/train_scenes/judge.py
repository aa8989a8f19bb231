"""The judge: a centre-point detector of objects, and the score of pictures against the meaning of their prompts."""
import itertools

import torch
from torch import nn
from torch.nn import functional as F

import scenes as S

ATTRIBUTES = {"shape": 4, "color": 8, "size": 2, "material": 2}
CELL = 8                                                     # pixels a side of one cell of the detector's map
HEAT_THRESHOLD = 0.35
PEAK_RADIUS = 2                                              # cells in which a peak silences weaker ones


def convolution(inputs, outputs, stride=1, dilation=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation=dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True))


class Residual(nn.Module):
    def __init__(self, width, dilation=1):
        super().__init__()
        self.first = convolution(width, width, 1, dilation)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, dilation, dilation=dilation, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class Detector(nn.Module):
    """Pictures (n, 3, 256, 256) in [0, 1] -> maps (n, 1 + 16, 32, 32) of heat and attributes, floors (n, 4)."""
    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(convolution(3, 32, 2), convolution(32, 64, 2), Residual(64), convolution(64, 128, 2),
                                  Residual(128), Residual(128, 2), Residual(128, 4), Residual(128))
        self.coarse = nn.Sequential(convolution(128, 160, 2), Residual(160), Residual(160, 2))
        self.up = nn.Conv2d(160, 128, 1)
        self.head = nn.Sequential(Residual(128), convolution(128, 160), nn.Conv2d(160, 1 + sum(ATTRIBUTES.values()), 1))
        self.floor = nn.Linear(160, len(S.FLOORS))
        nn.init.constant_(self.head[-1].bias[:1], -3)        # few cells hold a centre

    def forward(self, x):
        fine = self.fine(x * 2 - 1)
        coarse = self.coarse(fine)
        return self.head(F.relu(fine + F.interpolate(self.up(coarse), scale_factor=2))), self.floor(coarse.mean((2, 3)))


def save(detector, path):
    torch.save({name: t.half() if t.is_floating_point() else t for name, t in detector.state_dict().items()}, path)


def load(path, device):
    detector = Detector()
    detector.load_state_dict(torch.load(path, map_location="cpu"))
    return detector.float().to(device).eval()


@torch.no_grad()
def detect(detector, pictures, batch=128):
    """uint8 pictures -> a list of (objects, floor); an object has x, y (pixels) and its four attributes."""
    found = []
    device = next(detector.parameters()).device
    for i in range(0, len(pictures), batch):
        maps, floors = detector(pictures[i:i + batch].to(device).float().div(255))
        heat = maps[:, 0].sigmoid()
        window = 2 * PEAK_RADIUS + 1
        peaks = (heat == F.max_pool2d(heat[:, None], window, 1, PEAK_RADIUS)[:, 0]) & (heat > HEAT_THRESHOLD)
        classes = [part.argmax(1) for part in maps[:, 1:].split(list(ATTRIBUTES.values()), 1)]
        classes = torch.stack(classes, 1).cpu().numpy()
        objects = [[] for _ in range(len(maps))]
        for picture, row, column in peaks.nonzero().cpu().tolist():
            entry = dict(x=(column + 0.5) * CELL, y=(row + 0.5) * CELL)
            entry.update((name, int(value)) for name, value in zip(ATTRIBUTES, classes[picture, :, row, column]))
            objects[picture].append(entry)
        found += list(zip(objects, floors.argmax(1).tolist()))
    return found


def holds(relation, a, b):
    return {"left": a["x"] < b["x"], "right": a["x"] > b["x"], "front": a["y"] > b["y"], "behind": a["y"] < b["y"]}[relation]


def best_assignment(objects, meaning):
    """Which found object is which named one: the choice that makes most of the prompt true, or None when too few were found."""
    count = len(meaning.objects)
    if not count <= len(objects) <= 6:
        return None

    def truths(chosen):
        attributes = sum(named[a] is None or objects[j][a] == named[a] for j, named in zip(chosen, meaning.objects) for a in ATTRIBUTES)
        return attributes + 0.5 * sum(holds(r, objects[chosen[a]], objects[chosen[b]]) for a, r, b in meaning.relations)

    return max(itertools.permutations(range(len(objects)), count), key=truths)


def verdict(found, meaning):
    """What of a prompt is true of a picture: {kind: [bool, ...]}. The prompt counts when all of it is true."""
    objects, floor = found
    chosen = best_assignment(objects, meaning)
    result = {"count": [len(objects) == len(meaning.objects)]}
    for a in ATTRIBUTES:
        result[a] = [chosen is not None and objects[chosen[j]][a] == named[a]
                     for j, named in enumerate(meaning.objects) if named[a] is not None]
    result["relation"] = [chosen is not None and bool(holds(r, objects[chosen[a]], objects[chosen[b]])) for a, r, b in meaning.relations]
    result["floor"] = [floor == meaning.floor] if meaning.floor is not None else []
    return result


def score(found, meanings):
    """Percent of prompts that are right in everything ("all"), and of each kind of statement."""
    verdicts = [verdict(f, m) for f, m in zip(found, meanings)]

    def percent(values):
        return round(100 * sum(values) / len(values), 1) if values else None

    table = {"n": len(verdicts), "all": percent([all(all(v) for v in one.values()) for one in verdicts])}
    for kind in ["count", *ATTRIBUTES, "relation", "floor"]:
        table[kind] = percent([value for one in verdicts for value in one[kind]])
    return table
