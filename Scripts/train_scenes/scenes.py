"""What a scene is: its words, the camera that looks at it, and random layouts.

A scene set is a dict of arrays over n scenes of up to three objects: `count` (n,), `floor` (n,), and (n, 3) each of
`shape`, `color`, `size`, `material`, `angle`, `x`, `y`. Only the first `count` objects of a scene exist.
"""
import math

import numpy as np

SHAPES = ["sphere", "cube", "cylinder", "cone"]
COLORS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "black"]
SIZES = ["small", "large"]
MATERIALS = ["matte", "shiny"]
FLOORS = ["gray", "white", "wooden", "checkered"]
SPHERE, CUBE, CYLINDER, CONE = range(4)

# Pairs that no token model sees in training: a prompt for one tests whether colour and shape were learnt apart.
HELD_OUT = [("cyan", "cube"), ("orange", "sphere"), ("purple", "cylinder"), ("green", "cone")]
HELD_OUT_PAIRS = np.array([(COLORS.index(color), SHAPES.index(shape)) for color, shape in HELD_OUT])
IS_HELD_OUT = np.zeros((len(COLORS), len(SHAPES)), bool)
IS_HELD_OUT[HELD_OUT_PAIRS[:, 0], HELD_OUT_PAIRS[:, 1]] = True

RADIUS = np.array([0.42, 0.74])                              # of the bounding sphere, small and large
CUBE_ANGLES = 8                                              # steps in a quarter turn: corners take few forms, so the codebook keeps them sharp
COUNT_SHARES = (0.26, 0.34, 0.40)                            # one, two, three objects
GRID = 4                                                     # centres stand on every 4th pixel: a quarter of a token

# ---- the camera never moves, so a floor token is a function of its place
RESOLUTION = 256
CAMERA = np.array([0.0, -5.2, 3.6])
TARGET = np.array([0.0, 0.0, 0.22])
HALF_WIDTH = math.tan(math.radians(18.6))                    # of the picture, at distance 1: table everywhere
FORWARD = (TARGET - CAMERA) / np.linalg.norm(TARGET - CAMERA)
RIGHT = np.cross(FORWARD, [0.0, 0.0, 1.0])
RIGHT /= np.linalg.norm(RIGHT)
UP = np.cross(RIGHT, FORWARD)


def project(x, y, z):
    """World point to (column, row, pixels per unit of length)."""
    offset = np.stack([x - CAMERA[0], y - CAMERA[1], z - CAMERA[2]], -1)
    distance = offset @ FORWARD
    scale = RESOLUTION / 2 / HALF_WIDTH / distance
    return RESOLUTION / 2 + (offset @ RIGHT) * scale, RESOLUTION / 2 - (offset @ UP) * scale, scale


def unproject(column, row, z):
    """The point of height z that is seen at a pixel, as (x, y)."""
    u = (column / RESOLUTION * 2 - 1) * HALF_WIDTH
    v = (1 - row / RESOLUTION * 2) * HALF_WIDTH
    ray = FORWARD + u[..., None] * RIGHT + v[..., None] * UP
    t = (z - CAMERA[2]) / ray[..., 2]
    return CAMERA[0] + t * ray[..., 0], CAMERA[1] + t * ray[..., 1]


def dimensions(shape, size):
    """Half width (or base radius) and height of objects."""
    r = RADIUS[size]
    return np.choose(shape, [r, 0.80 * r, 0.80 * r, 0.98 * r]), np.choose(shape, [2 * r, 1.60 * r, 1.75 * r, 2 * r])


def bounds(scenes, rows=slice(None)):
    """Radius on the ground and height of objects."""
    half_width, height = dimensions(scenes["shape"][rows], scenes["size"][rows])
    return np.where(scenes["shape"][rows] == CUBE, half_width * 1.40, half_width), height


def sample_scenes(n, seed, held_out=False, only_held_out=False, count=None):
    """n random scenes. Without `held_out` the held-out pairs do not occur; with `only_held_out` the first object is one."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([1, 2, 3], n, p=COUNT_SHARES) if count is None else np.full(n, count)
    scenes = dict(
        count=counts.astype(np.int64),
        floor=rng.integers(0, len(FLOORS), n),
        shape=rng.integers(0, len(SHAPES), (n, 3)),
        color=rng.integers(0, len(COLORS), (n, 3)),
        size=rng.integers(0, len(SIZES), (n, 3)),
        material=rng.integers(0, len(MATERIALS), (n, 3)),
        angle=rng.integers(0, CUBE_ANGLES, (n, 3)) * (math.pi / 2 / CUBE_ANGLES),
        x=np.zeros((n, 3)), y=np.zeros((n, 3)))
    if only_held_out:
        pairs = HELD_OUT_PAIRS[rng.integers(0, len(HELD_OUT_PAIRS), n)]
        scenes["color"][:, 0], scenes["shape"][:, 0] = pairs[:, 0], pairs[:, 1]
    while not held_out:
        forbidden = IS_HELD_OUT[scenes["color"], scenes["shape"]]
        forbidden[:, 0] &= not only_held_out
        if not forbidden.any():
            break
        scenes["color"] = np.where(forbidden, rng.integers(0, len(COLORS), (n, 3)), scenes["color"])
        scenes["shape"] = np.where(forbidden, rng.integers(0, len(SHAPES), (n, 3)), scenes["shape"])
    place(scenes, rng)
    return scenes


def place(scenes, rng):
    """Puts the objects where they are wholly in the picture and clear of each other, on the table and on the screen."""
    todo = np.arange(len(scenes["count"]))
    for attempt in range(1000):
        if not len(todo):
            return
        if attempt > 60:                                     # three large objects seldom fit: make them small
            scenes["size"][todo] = 0
        ground, height = bounds(scenes, todo)
        x, y = rng.uniform(-1.55, 1.55, ground.shape), rng.uniform(-1.35, 1.25, ground.shape)
        column, row, _ = project(x, y, height / 2)
        x, y = unproject(np.round(column / GRID) * GRID, np.round(row / GRID) * GRID, height / 2)
        column, row, scale = project(x, y, height / 2)
        radius = scale * np.maximum(ground, height / 2)
        exists = np.arange(3)[None] < scenes["count"][todo][:, None]
        low, high = 5, RESOLUTION - 5
        inside = (column - radius > low) & (column + radius < high) & (row - radius > low) & (row + radius < high)
        good = (inside | ~exists).all(1)
        for a in range(3):
            for b in range(a):
                on_table = np.hypot(x[:, a] - x[:, b], y[:, a] - y[:, b])
                on_screen = np.hypot(column[:, a] - column[:, b], row[:, a] - row[:, b])
                clear = (on_table > ground[:, a] + ground[:, b] + 0.12) & (on_screen > 1.05 * (radius[:, a] + radius[:, b]))
                good &= clear | ~(exists[:, a] & exists[:, b])
        scenes["x"][todo[good]], scenes["y"][todo[good]] = x[good], y[good]
        todo = todo[~good]
    raise RuntimeError("some scenes could not be laid out")


def centers(scenes):
    """Where the objects' centres are in the picture: (n, 3, 2), column and row."""
    _, height = bounds(scenes)
    column, row, _ = project(scenes["x"], scenes["y"], height / 2)
    return np.stack([column, row], -1).astype(np.float32)


def take(scenes, rows):
    return {key: values[rows] for key, values in scenes.items()}
