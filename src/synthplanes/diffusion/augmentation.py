"""Augment without leaking (Karras 2022, appendix F.2): the denoiser is conditioned on the augmentation of an image.

Sampling sets the augmentation parameters to zero, so augmentations enlarge the training set without appearing in the
samples.
"""

import torch
from torch.nn import functional

N_AUGMENTATIONS = 6  # flip, shift right, shift down, log2 scale, angle, gain
SHIFT = 0.10         # of the width, standard deviation
LOG2_SCALE = 0.15    # standard deviation
ANGLE = 0.20         # radians, standard deviation
GAIN = 0.10          # relative brightness, standard deviation


def augment(images: torch.Tensor, chance: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply each operation to each image independently with probability `chance`.

    `images` float32 [N, 1, H, W] in [-1, 1]. Returns the same shape and range (the border is filled with black) and the
    parameters float32 [N, N_AUGMENTATIONS], zero where an operation was not applied.
    """
    n = len(images)
    applied = (torch.rand(n, N_AUGMENTATIONS, generator=generator) < chance).float()
    size = torch.randn(n, N_AUGMENTATIONS, generator=generator)
    size[:, 0] = 1.0
    parameters = applied * size                                                    # [N, 6]
    if chance == 0:
        return images, parameters
    flip = 1 - 2 * parameters[:, 0]
    scale = torch.exp2(-LOG2_SCALE * parameters[:, 3])
    angle = ANGLE * parameters[:, 4]
    theta = torch.zeros(n, 2, 3)                                                   # affine maps of coordinates
    theta[:, 0, 0], theta[:, 0, 1] = scale * flip * torch.cos(angle), -scale * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * flip * torch.sin(angle), scale * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = 2 * SHIFT * parameters[:, 1], 2 * SHIFT * parameters[:, 2]
    theta = theta.to(images.device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)  # [N, H, W, 2]
    gain = torch.exp(GAIN * parameters[:, 5]).view(-1, 1, 1, 1).to(images.device)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * gain).clamp(0, 2) - 1, parameters
