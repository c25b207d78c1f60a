"""Non-leaking augmentation (Karras 2022, appendix F.2): the denoiser is told what was done to an image.

At sampling it is told that nothing was done, so the augmentations widen the training set without
appearing in the samples.
"""

import torch
from torch.nn import functional

N_AUGMENTATIONS = 6  # flip, shift right, shift down, log2 scale, angle, gain
SHIFT = 0.10         # of the width, standard deviation
LOG2_SCALE = 0.15    # standard deviation
ANGLE = 0.20         # radians, standard deviation
GAIN = 0.10          # relative brightness, standard deviation


def augment(images: torch.Tensor, share: float, generator: torch.Generator
            ) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment each image with each operation independently with probability `share`.

    `images` float32 [N, 1, H, W] in [-1, 1]; returns the same shape and range (what moves in is black)
    and the parameters float32 [N, N_AUGMENTATIONS], zero where an operation was not applied.
    """
    n = len(images)
    chosen = (torch.rand(n, N_AUGMENTATIONS, generator=generator) < share).float()
    size = torch.randn(n, N_AUGMENTATIONS, generator=generator)
    size[:, 0] = 1.0
    parameters = chosen * size
    if share == 0:
        return images, parameters
    flip = 1 - 2 * parameters[:, 0]
    scale = torch.exp2(-LOG2_SCALE * parameters[:, 3])
    angle = ANGLE * parameters[:, 4]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * flip * torch.cos(angle), -scale * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * flip * torch.sin(angle), scale * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = 2 * SHIFT * parameters[:, 1], 2 * SHIFT * parameters[:, 2]
    theta = theta.to(images.device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    gain = torch.exp(GAIN * parameters[:, 5]).view(-1, 1, 1, 1).to(images.device)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * gain).clamp(0, 2) - 1, parameters
