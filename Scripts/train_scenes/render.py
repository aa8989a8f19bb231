"""A batched ray tracer for scene sets, in PyTorch, on a processor or a GPU.

Every object is a slab between two heights, cut with two more slabs (a cube) or with one quadric of revolution
x^2 + y^2 = a + b z + c z^2 (sphere, cylinder, cone): one routine gives entry and exit of all four shapes. Four camera
rays a pixel; sixteen shadow rays a pixel to a disc lamp; ambient light with contact shadows.

Shiny must look different from matte on every shape and at every size: a highlight on the sphere, a vertical streak on
cylinder and cone, and on flat faces a wide soft sheen. The sheen is a gradient over the whole face and not a bright
edge, because lines a pixel wide cost many tokens.
"""
import math

import numpy as np
import torch
from torch.nn import functional as F

import scenes as S

COLOR_VALUES = np.array([                                    # linear light
    [0.72, 0.025, 0.02], [0.95, 0.27, 0.01], [0.90, 0.72, 0.03], [0.04, 0.38, 0.06],
    [0.03, 0.55, 0.62], [0.03, 0.07, 0.70], [0.27, 0.04, 0.46], [0.018, 0.018, 0.02]], np.float32)
LAMP = np.array([-3.6, -2.2, 6.0])
LAMP_RADIUS = 0.75
SAMPLES = 4                                                  # camera rays a pixel
FAR = 1e9

# Columns of the parameter tensor (batch, object, 15).
X, Y, HEIGHT, HALF, A, B, C, COS, SIN, KIND, SHINY, RED, GREEN, BLUE, EXISTS = range(15)


def parameters(scenes):
    """Scene set to the tracer's tensors: objects (n, 3, 15) and floor (n,)."""
    half, height = S.dimensions(scenes["shape"], scenes["size"])
    shape, zero = scenes["shape"], np.zeros_like(height)
    slope2 = (half / height) ** 2
    p = np.zeros(shape.shape + (15,), np.float32)
    p[..., X], p[..., Y], p[..., HEIGHT], p[..., HALF] = scenes["x"], scenes["y"], height, half
    p[..., A] = np.choose(shape, [zero, half ** 2, half ** 2, slope2 * height ** 2])
    p[..., B] = np.choose(shape, [height, zero, zero, -2 * slope2 * height])
    p[..., C] = np.choose(shape, [zero - 1, zero, zero, slope2])
    p[..., COS], p[..., SIN] = np.cos(scenes["angle"]), np.sin(scenes["angle"])
    p[..., KIND], p[..., SHINY] = shape, scenes["material"]
    p[..., RED:BLUE + 1] = COLOR_VALUES[scenes["color"]]
    p[..., EXISTS] = np.arange(3)[None] < scenes["count"][:, None]
    return torch.from_numpy(p), torch.from_numpy(scenes["floor"].astype(np.float32))


def camera_rays(device):
    """Directions as three tensors (1, SAMPLES, rows, columns)."""
    offsets = torch.tensor([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]], device=device)
    pixel = torch.arange(S.RESOLUTION, device=device) + 0.5
    shape = (SAMPLES, S.RESOLUTION, S.RESOLUTION)
    u = ((pixel[None, None, :] + offsets[:, 0, None, None]) / S.RESOLUTION * 2 - 1).expand(shape) * S.HALF_WIDTH
    v = (1 - (pixel[None, :, None] + offsets[:, 1, None, None]) / S.RESOLUTION * 2).expand(shape) * S.HALF_WIDTH
    forward, right, up = (torch.tensor(a, dtype=torch.float32, device=device) for a in (S.FORWARD, S.RIGHT, S.UP))
    ray = F.normalize(forward + u[..., None] * right + v[..., None] * up, dim=-1)
    return [ray[None, ..., i].contiguous() for i in range(3)]


def lamp_points(device):
    """Sixteen points of a disc that faces the table, (4, SAMPLES, 3): each camera ray of a pixel looks at four of them."""
    i = torch.arange(16, device=device, dtype=torch.float32)
    radius, turn = torch.sqrt((i + 0.5) / 16) * LAMP_RADIUS, i * 2.399963      # the golden angle
    axis = torch.tensor(LAMP / np.linalg.norm(LAMP), dtype=torch.float32, device=device)
    side = F.normalize(torch.linalg.cross(axis, torch.tensor([0.0, 0.0, 1.0], device=device)), dim=0)
    other = torch.linalg.cross(axis, side)
    center = torch.tensor(LAMP, dtype=torch.float32, device=device)
    points = center + (radius * turn.cos())[:, None] * side + (radius * turn.sin())[:, None] * other
    return points.view(4, SAMPLES, 3)


def away_from_zero(x):
    return torch.where(x.abs() < 1e-6, 1e-6, x)


def span(origin, ray, p):
    """Where rays enter and leave one object; p holds its parameters, each (batch, 1, 1, 1). A miss is (FAR, -FAR)."""
    ox, oy, oz = origin[0] - p[X], origin[1] - p[Y], origin[2]
    dx, dy, dz = ray
    inverse = 1 / away_from_zero(dz)
    bottom, top = (0 - oz) * inverse, (p[HEIGHT] - oz) * inverse
    slab_in, slab_out = torch.minimum(bottom, top), torch.maximum(bottom, top)
    # a cube: two more slabs, in its own turned frame
    bx, by = p[COS] * ox + p[SIN] * oy, p[COS] * oy - p[SIN] * ox
    ex, ey = p[COS] * dx + p[SIN] * dy, p[COS] * dy - p[SIN] * dx
    ix, iy = 1 / away_from_zero(ex), 1 / away_from_zero(ey)
    x0, x1 = (-p[HALF] - bx) * ix, (p[HALF] - bx) * ix
    y0, y1 = (-p[HALF] - by) * iy, (p[HALF] - by) * iy
    cube_in = torch.maximum(torch.minimum(x0, x1), torch.minimum(y0, y1))
    cube_out = torch.minimum(torch.maximum(x0, x1), torch.maximum(y0, y1))
    # a surface of revolution
    qa = away_from_zero(dx * dx + dy * dy - p[C] * dz * dz)
    qb = ox * dx + oy * dy - dz * (0.5 * p[B] + p[C] * oz)
    qc = ox * ox + oy * oy - p[A] - p[B] * oz - p[C] * oz * oz
    discriminant = qb * qb - qa * qc
    root = torch.sqrt(discriminant.clamp_min(0))
    t0, t1 = (-qb - root) / qa, (-qb + root) / qa
    first, last = torch.minimum(t0, t1), torch.maximum(t0, t1)
    down = dz < 0                                            # steeper than the cone: inside before or after, not between
    round_in = torch.where(qa > 0, first, torch.where(down, last, -FAR))
    round_out = torch.where(qa > 0, last, torch.where(down, FAR, first))
    round_out = torch.where((discriminant < 0) & (qa > 0), -FAR, round_out)
    is_cube = p[KIND] == S.CUBE
    enter = torch.maximum(slab_in, torch.where(is_cube, cube_in, round_in))
    leave = torch.minimum(slab_out, torch.where(is_cube, cube_out, round_out))
    hit = (enter < leave) & (p[EXISTS] > 0)
    return torch.where(hit, enter, FAR), torch.where(hit, leave, -FAR)


def compile_span():
    """Compiles the one routine that matters; the rest runs eagerly."""
    global span
    span = torch.compile(span, dynamic=False)


def floor_color(x, y, floor):
    gray, white = (0.27, 0.27, 0.28), (0.60, 0.60, 0.595)
    check = 0.10 + 0.48 * ((torch.floor(x / 0.85 + 0.5) + torch.floor(y / 0.85)) % 2)
    plank = torch.floor(y / 0.62)
    across = torch.frac(y / 0.62 + 8)
    tone = torch.frac((torch.sin(plank * 12.9898) * 43.7585).abs())
    grain = 0.5 + 0.5 * torch.sin(x * 1.7 + plank * 5.3 + 1.1 * torch.sin(x * 0.9 + plank) + 9 * across)
    seam = ((across - 0.5).abs() > 0.47).float()
    wood = (0.62 + 0.30 * tone + 0.16 * grain) * (1 - 0.55 * seam)
    return [torch.where(floor == 0, gray[i], torch.where(floor == 1, white[i],
            torch.where(floor == 2, (0.42, 0.20, 0.075)[i] * wood, (1.0, 0.99, 0.97)[i] * check))) for i in range(3)]


def ramp(x, start, width):
    return ((x - start) / width).clamp(0, 1)


def trace(objects, floor, rays, lamp):
    """objects (n, 3, 15), floor (n,) -> pictures (n, 3, rows, columns) uint8 and the object's share of each pixel."""
    count = objects.shape[0]
    each = [[objects[:, k, i].view(count, 1, 1, 1) for i in range(15)] for k in range(3)]
    floor = floor.view(count, 1, 1, 1)
    eye = [torch.full_like(rays[0], float(S.CAMERA[i])) for i in range(3)]
    t = ((0 - eye[2]) / rays[2].clamp_max(-1e-3)).expand(count, SAMPLES, S.RESOLUTION, S.RESOLUTION)
    which = torch.zeros_like(t)                              # 0 is the floor
    for k in range(3):
        enter, _ = span(eye, rays, each[k])
        nearer = enter < t
        t, which = torch.where(nearer, enter, t), torch.where(nearer, k + 1.0, which)
    px, py, pz = (eye[i] + t * rays[i] for i in range(3))
    picked = {i: torch.where(which == 1, each[0][i], torch.where(which == 2, each[1][i], each[2][i]))
              for i in (X, Y, HEIGHT, HALF, COS, SIN, KIND, SHINY, RED, GREEN, BLUE)}
    is_object, kind, height, half = which > 0, picked[KIND], picked[HEIGHT], picked[HALF]
    lx, ly = px - picked[X], py - picked[Y]

    # Normals. Cube coordinates run from -1 to 1; the largest names the face.
    cx, cy = (picked[COS] * lx + picked[SIN] * ly) / half, (picked[COS] * ly - picked[SIN] * lx) / half
    cz = (pz - 0.5 * height) / (0.5 * height)
    on_x = (cx.abs() > cy.abs()) & (cx.abs() > cz.abs())
    on_y = ~on_x & (cy.abs() > cz.abs())
    cube_x = torch.where(on_x, picked[COS] * torch.sign(cx), torch.where(on_y, -picked[SIN] * torch.sign(cy), 0.0))
    cube_y = torch.where(on_x, picked[SIN] * torch.sign(cx), torch.where(on_y, picked[COS] * torch.sign(cy), 0.0))
    cube_z = torch.where(on_x | on_y, 0.0, torch.sign(cz))
    rho = torch.sqrt(lx * lx + ly * ly).clamp_min(1e-4)
    on_top = pz > height - 2e-3
    slope = half / height
    steep = 1 / torch.sqrt(1 + slope * slope)

    def normal(sphere, cube, side, cap, cone):
        cylinder = torch.where(on_top, cap, side)
        return torch.where(kind == S.SPHERE, sphere, torch.where(kind == S.CUBE, cube, torch.where(kind == S.CYLINDER, cylinder, cone)))

    nx = torch.where(is_object, normal(lx / half, cube_x, lx / rho, 0.0, lx / rho * steep), 0.0)
    ny = torch.where(is_object, normal(ly / half, cube_y, ly / rho, 0.0, ly / rho * steep), 0.0)
    nz = torch.where(is_object, normal((pz - half) / half, cube_z, 0.0, 1.0, slope * steep), 1.0)

    ground_color = floor_color(px, py, floor)
    shiny = torch.where(is_object, picked[SHINY], 0.0)

    # The lamp: what part of it is seen, and at which angle.
    lit, visible = torch.zeros_like(t), torch.zeros_like(t)
    start = (px + nx * 4e-3, py + ny * 4e-3, pz + nz * 4e-3)
    for points in lamp:
        to = [points[:, i].view(1, SAMPLES, 1, 1) - (px, py, pz)[i] for i in range(3)]
        scale = torch.rsqrt(to[0] ** 2 + to[1] ** 2 + to[2] ** 2)
        to = [component * scale for component in to]
        blocked = torch.zeros_like(t)
        for k in range(3):
            enter, leave = span(start, to, each[k])
            blocked = torch.maximum(blocked, ((leave > 1e-3) & (enter < 1e8)).float())
        visible = visible + (1 - blocked) / 4
        lit = lit + (1 - blocked) / 4 * (nx * to[0] + ny * to[1] + nz * to[2]).clamp_min(0)

    # Ambient light, taken away near other objects as if they were spheres.
    open_sky = torch.ones_like(t)
    for k in range(3):
        half_height = 0.5 * each[k][HEIGHT]
        dx, dy, dz = each[k][X] - px, each[k][Y] - py, half_height - pz
        d2 = (dx * dx + dy * dy + dz * dz).clamp_min(1e-4)
        toward = ((nx * dx + ny * dy + nz * dz) * torch.rsqrt(d2)).clamp_min(0)
        size2 = half_height * torch.maximum(half_height, each[k][HALF]) * 0.8
        other = (each[k][EXISTS] > 0) & (which != k + 1)
        open_sky = open_sky * torch.where(other, 1 - 0.75 * toward * (size2 / d2).clamp_max(1.0), 1.0)
    ambient = (0.40 + 0.16 * nz) * open_sky
    bounce = torch.where(is_object, (0.5 - 0.5 * nz) * 0.16, 0.0)

    # Gloss: the mirrored ray meets the lamp (highlight) or a tall lamp beside the table (streak); flat faces get a sheen.
    facing = rays[0] * nx + rays[1] * ny + rays[2] * nz
    rx, ry, rz = rays[0] - 2 * facing * nx, rays[1] - 2 * facing * ny, rays[2] - 2 * facing * nz
    fresnel = (0.12 + 0.88 * (1 + facing).clamp(0, 1) ** 4) * shiny
    to_lamp = (rx * LAMP[0] + ry * LAMP[1] + rz * LAMP[2]) / np.linalg.norm(LAMP)
    highlight = ramp(to_lamp, 0.955, 0.025) * visible * 1.6
    around = (rx * LAMP[0] + ry * LAMP[1]) / math.hypot(LAMP[0], LAMP[1]) * torch.rsqrt((rx * rx + ry * ry).clamp_min(1e-6))
    streak = ramp(around, 0.955, 0.03) * ramp(rz, -0.75, 0.2) * 0.55
    is_side = ((kind == S.CYLINDER) & ~on_top) | (kind == S.CONE)
    across_top = 0.5 + 0.35 * (lx * 0.6 + ly * 0.8) / half   # brighter toward the back: the mirrored horizon
    sheen = torch.where(nz > 0.5, across_top.clamp(0, 1) ** 2 * 0.36, (pz / height).clamp(0, 1) ** 2 * 0.20)
    is_flat = (kind == S.CUBE) | ((kind == S.CYLINDER) & on_top)
    gloss = torch.maximum(highlight, torch.where(is_side, streak, 0.0))
    gloss = torch.where(is_flat, sheen * (0.4 + 0.6 * (1.6 * lit).clamp(0, 1)), gloss) * shiny

    sky = 0.25 + 0.70 * rz.clamp_min(0)
    floor_shade = [torch.where(floor == 2, (0.40, 0.20, 0.08)[i], torch.where(floor == 0, 0.3, 0.6)) for i in range(3)]
    channels = []
    for i in range(3):
        albedo = torch.where(is_object, picked[RED + i], ground_color[i])
        base = albedo * (1.02 * lit + ambient)
        base = torch.where(is_object, base + albedo * bounce * 2 * ground_color[i], base)
        mirrored = torch.where(rz > 0, sky, 0.55 * floor_shade[i])
        color = (base * (1 - 0.25 * shiny) + fresnel * mirrored * open_sky + gloss).clamp(0, 1)
        color = torch.where(color < 0.0031308, color * 12.92, 1.055 * color.clamp_min(1e-5) ** (1 / 2.4) - 0.055)      # sRGB
        channels.append(color.mean(1))
    pictures = (torch.stack(channels, 1) * 255 + 0.5).clamp(0, 255).to(torch.uint8)
    return pictures, is_object.float().mean(1)


@torch.no_grad()
def render(scenes, device, batch=64, out=None, with_mask=False):
    """Pictures (n, 3, 256, 256) uint8; with the mask also (n, 64, 64) bool: any of the 4 x 4 pixels belongs to an object."""
    objects, floor = parameters(scenes)
    n = len(objects)
    rays, lamp = camera_rays(device), lamp_points(device)
    pictures = torch.empty(n, 3, S.RESOLUTION, S.RESOLUTION, dtype=torch.uint8, device=device) if out is None else out
    masks = torch.empty(n, 64, 64, dtype=torch.bool, device=device) if with_mask else None
    for i in range(0, n, batch):
        rows = torch.arange(i, i + batch).clamp_max(n - 1)   # always full batches: the compiled routine has one shape
        picture, share = trace(objects[rows].to(device), floor[rows].to(device), rays, lamp)
        used = min(batch, n - i)
        pictures[i:i + used] = picture[:used]
        if with_mask:
            masks[i:i + used] = F.max_pool2d(share[:used, None], 4)[:, 0] > 0.03
    return (pictures, masks) if with_mask else pictures
