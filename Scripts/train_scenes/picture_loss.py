"""What both autoencoders are trained and measured with: errors of pixels, a patch discriminator, PSNR on objects.

The pictures are mostly floor, which is easy, so pixels of objects and of a rim around them count eight times.
"""
import torch
from torch import nn
from torch.nn import functional as F

import scenes as S

OBJECT_WEIGHT = 8.0


class PatchDiscriminator(nn.Sequential):
    def __init__(self, width=48):
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.GroupNorm(8, 2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.GroupNorm(8, 4 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, 1, 1))


class Adversary:
    """The discriminator with its optimizer."""
    def __init__(self, ranks):
        self.ranks = ranks
        self.network = PatchDiscriminator().to(ranks.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 4e-4, betas=(0.5, 0.9), fused=ranks.cuda)

    def gradient(self, target, output, weight, strength):
        """Trains the discriminator one step; its gradient at the output, scaled to the norm `strength`."""
        self.network.requires_grad_(False)
        with self.ranks.autocast():
            wish = -self.network(output).float().mean()
        gradient = torch.autograd.grad(wish, output)[0] * (weight / OBJECT_WEIGHT)
        self.network.requires_grad_(True)
        with self.ranks.autocast():
            loss = F.relu(1 - self.network(target).float()).mean() + F.relu(1 + self.network(output.detach()).float()).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.mean([p.grad for p in self.network.parameters()])
        self.optimizer.step()
        return gradient * (strength / (gradient.norm() + 1e-12))


def pixel_loss(target, output, weight):
    """Absolute and squared error, and differences of neighbours at two resolutions, of pixels in [0, 1] scaled to [-1, 1]."""
    error = 2 * (output - target)
    loss = (weight * (error.abs() + 2 * error.square())).mean()
    for halvings in range(2):
        if halvings:
            error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
        across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
        loss = loss + (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
    return loss


def object_pixels(masks, grow=0):
    """Masks (n, 64, 64) of 4 x 4 pixels to (n, 1, 256, 256), grown by some cells."""
    x = masks.float()[:, None]
    if grow:
        x = F.max_pool2d(x, 2 * grow + 1, 1, grow)
    return F.interpolate(x, scale_factor=4)


def pixel_weight(masks):
    return 1 + (OBJECT_WEIGHT - 1) * object_pixels(masks, grow=1)


def psnr_table(scenes, pictures, decoded, masks):
    """PSNR of decoded uint8 pictures, of all pixels and of those of objects."""
    error = (decoded.float() - pictures.float()).square()
    is_object = object_pixels(masks)
    per_picture = error.mean((1, 2, 3))
    per_object = (error * is_object).sum((1, 2, 3)) / (3 * is_object.sum((1, 2, 3)).clamp_min(1))

    def decibel(mse):
        return (10 * torch.log10(255 ** 2 / mse.clamp_min(1e-3)))

    def of_objects(rows):
        return round(decibel(per_object[torch.from_numpy(rows).to(per_object.device)].mean()).item(), 2) if rows.any() else None

    first = scenes["shape"][:, 0]
    alone = scenes["count"] == 1
    return dict(
        psnr=round(decibel(per_picture).mean().item(), 2), psnr_of_mean_error=round(decibel(per_picture.mean()).item(), 2),
        psnr_object=of_objects(alone | ~alone), psnr_object_mean_of_pictures=round(decibel(per_object).mean().item(), 2),
        psnr_object_by_shape={name: of_objects(alone & (first == k)) for k, name in enumerate(S.SHAPES)},
        psnr_object_by_floor={name: of_objects(scenes["floor"] == k) for k, name in enumerate(S.FLOORS)})


def pairs(pictures, decoded, rows):
    return torch.stack([pictures[rows], decoded[rows]], 1).flatten(0, 1)
