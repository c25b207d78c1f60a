"""What every arm does to its training images: one affine warp, a flip and a change of gain per image."""

import torch
from torch.nn import functional

SHIFT = 0.08   # of the width, largest
SCALE = 0.12   # relative, largest
ANGLE = 0.20   # radians, largest
GAIN = 0.25    # relative brightness, largest


def augment(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """float32 [N, 1, H, W] in [-1, 1] -> the same; every size is uniform up to `strength` times its largest."""
    if strength == 0:
        return images
    n = len(images)
    amount = (2 * torch.rand(n, 5, generator=generator) - 1) * strength
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    scale, angle = 1 + SCALE * amount[:, 0], ANGLE * amount[:, 1]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * flip * torch.cos(angle), -scale * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * flip * torch.sin(angle), scale * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = 2 * SHIFT * amount[:, 2], 2 * SHIFT * amount[:, 3]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * (1 + GAIN * amount[:, 4]).view(-1, 1, 1, 1)).clamp(0, 2) - 1
