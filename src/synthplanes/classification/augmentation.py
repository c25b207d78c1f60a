"""Augment training images by an affine warp, a flip and a change of gain, drawn per image.

The strong policy, used by the arm `real_augmented`, doubles these ranges and adds a change of contrast and a black
rectangle.
"""

import torch
from torch.nn import functional

SHIFT = 0.08   # of the width, maximum
SCALE = 0.12   # relative, maximum
ANGLE = 0.20   # radians, maximum
GAIN = 0.25    # relative brightness, maximum
# Only in the strong policy:
TIMES = 2.0    # factor on the maxima above
CONTRAST = 0.5   # |ln gamma|, maximum
ERASED = 0.5   # probability of a black rectangle (Zhong 2020)
SIDE = 0.25    # half side of the rectangle, of the width, maximum


def augment(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Warp, flip and change the gain of float32 [N, 1, H, W] in [-1, 1]; the result has the same shape and range.

    Each magnitude is uniform up to `strength` times its maximum.
    """
    if strength == 0:
        return images
    n = len(images)
    amount = (2 * torch.rand(n, 5, generator=generator) - 1) * strength
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    scale, angle = 1 + SCALE * amount[:, 0], ANGLE * amount[:, 1]
    cosine, sine = (scale * torch.cos(angle)).view(-1, 1, 1), (scale * torch.sin(angle)).view(-1, 1, 1)
    down, across = (torch.linspace(1 / side - 1, 1 - 1 / side, side) for side in images.shape[2:])
    down, across = down.view(1, -1, 1), across.view(1, 1, -1)  # pixel centres in [-1, 1]
    right, below = (2 * SHIFT * amount[:, 2:4]).view(-1, 2, 1, 1).unbind(dim=1)
    # The grid that `affine_grid` computes, [N, H, W, 2], without its many small matrix products.
    grid = torch.stack([flip.view(-1, 1, 1) * cosine * across - sine * down + right,
                        flip.view(-1, 1, 1) * sine * across + cosine * down + below], dim=-1)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * (1 + GAIN * amount[:, 4]).view(-1, 1, 1, 1)).clamp(0, 2) - 1


def augment_strongly(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Apply the strong policy at `strength` in 0..1 to float32 [N, 1, H, W] in [-1, 1].

    The result has the same shape and range.
    """
    if strength == 0:
        return images
    n, _, height, width = images.shape
    moved = (augment(images, TIMES * strength, generator) + 1) / 2
    gamma = torch.exp(CONTRAST * strength * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1))
    centre, half = torch.rand(n, 2, generator=generator), SIDE * torch.rand(n, 2, generator=generator)
    half = half * (torch.rand(n, 1, generator=generator) < ERASED * strength)
    down, across = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    inside = (((down - centre[:, :1]).abs() < half[:, :1])[:, None, :, None]
              & ((across - centre[:, 1:]).abs() < half[:, 1:])[:, None, None, :])
    return 2 * (moved ** gamma).masked_fill(inside, 0.0) - 1
