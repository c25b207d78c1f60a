"""Draw the training batches of a denoiser: images, augmentations, conditions and noise.

Images are kept as uint8, on a GPU in its own memory, so that only small tables are transferred. Augmentations do not
leak (Karras 2022, appendix F.2): the denoiser is conditioned on their parameters, and sampling sets these to zero. So
they enlarge the training set without appearing in the samples.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from synthplanes.compute.draws import class_balanced
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.denoiser import N_AUGMENTATIONS, Conditions
from synthplanes.protocol.config import TrainDiffusion

SHIFT = 0.10         # of the width, standard deviation
LOG2_SCALE = 0.15    # standard deviation
ANGLE = 0.20         # radians, standard deviation
GAIN = 0.10          # relative brightness, standard deviation


class Batch(NamedTuple):
    """N training images, on the device of the training."""

    images: torch.Tensor   # float32 [N, 1, H, W] in [-1, 1], augmented
    noise: torch.Tensor    # float32 [N, 1, H, W], standard normal
    sigma: torch.Tensor    # float32 [N], noise levels
    conditions: Conditions


class Batches:
    """Draw batches from a set of images; `scanners` are those that the denoiser knows."""

    def __init__(self, images: LabelledImages, scanners: tuple[str, ...], parameters: TrainDiffusion,
                 device: torch.device):
        self._parameters, self._device = parameters, device
        self._n_classes, self._n_scanners = len(images.classes), len(scanners)
        self._labels, self._scanner = torch.tensor(images.labels), positions(images.scanners, scanners)
        self._chances = torch.from_numpy(class_balanced(images.labels, parameters.class_balance))
        self._images = torch.from_numpy(np.ascontiguousarray(images.images)).to(device)
        self._floats = torch.from_numpy(to_float(np.arange(256, dtype=np.uint8))).to(device)

    def draw(self, seed: int) -> Batch:
        """Return the batch of a seed."""
        parameters, generator = self._parameters, torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self._chances, parameters.batch_size, replacement=True, generator=generator)
        images = self._floats[self._images[rows.to(self._device)].long()].unsqueeze(1)
        images, augmentation = augment(images, parameters.augmentation, generator)
        drop = torch.rand(2, parameters.batch_size, generator=generator) < parameters.condition_dropout
        conditions = Conditions(torch.where(drop[0], self._n_classes, self._labels[rows]),
                                torch.where(drop[1], self._n_scanners, self._scanner[rows]), augmentation)
        sigma = stratified_noise_levels(parameters.batch_size, parameters, generator)
        if self._device.type != "cpu":  # a GPU draws its own noise: the CPU would be too slow for it
            generator = torch.Generator(self._device).manual_seed(seed)
        noise = torch.randn(images.shape, generator=generator, device=self._device)
        return Batch(images, noise, sigma.to(self._device), conditions.to(self._device))


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
    grid = functional.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)  # [N, H, W, 2]
    gain = torch.exp(GAIN * parameters[:, 5]).view(-1, 1, 1, 1).to(images.device)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * gain).clamp(0, 2) - 1, parameters


def stratified_noise_levels(n: int, parameters: TrainDiffusion, generator: torch.Generator) -> torch.Tensor:
    """Draw log-normal noise levels, float32 [n]: one from each of n equally likely strata, in random order."""
    quantiles = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
    return noise_levels_at(quantiles.double().clamp(1e-6, 1 - 1e-6), parameters)


def noise_levels_at(quantiles: torch.Tensor, parameters: TrainDiffusion) -> torch.Tensor:
    """Return the noise levels, float32 [n], at quantiles (float64 [n]) of the training distribution."""
    return (parameters.noise_mean + parameters.noise_deviation * torch.special.ndtri(quantiles)).exp().float()


def plain_conditions(labels: torch.Tensor, scanners: np.ndarray, known: tuple[str, ...]) -> Conditions:
    """Return the conditions of N images without augmentation; `known` are the scanners of the denoiser."""
    return Conditions(labels, positions(scanners, known), torch.zeros(len(labels), N_AUGMENTATIONS))


def positions(names: np.ndarray, known: tuple[str, ...]) -> torch.Tensor:
    """Return each name's position in `known`, int64 [N]; unknown names get `len(known)`."""
    return torch.tensor([known.index(name) if name in known else len(known) for name in names.tolist()],
                        dtype=torch.int64)
