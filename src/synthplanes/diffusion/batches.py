"""Draw the training batches of a denoiser: images, augmentations, conditions and noise.

Every batch derives from the number of its step, so no generator state has to be saved. Images are kept as uint8, on a
GPU in its own memory, so that only small tables are transferred.
"""

from dataclasses import dataclass

import numpy as np
import torch

from synthplanes.compute.draws import partly_class_balanced
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import augment
from synthplanes.diffusion.conditions import Conditions
from synthplanes.protocol.config import TrainDiffusion


@dataclass(frozen=True)
class Batch:
    """N training images, on the device of the training."""

    images: torch.Tensor   # float32 [N, 1, H, W] in [-1, 1], augmented
    noise: torch.Tensor    # float32 [N, 1, H, W], standard normal
    sigma: torch.Tensor    # float32 [N], noise levels
    conditions: Conditions


class Batches:
    """Draw batches from a set of images; `scanners` are those on which the denoiser is conditioned."""

    def __init__(self, images: LabelledImages, scanners: tuple[str, ...], parameters: TrainDiffusion,
                 device: torch.device):
        self._images, self._parameters, self._device = images, parameters, device
        self._n_classes, self._n_scanners = len(images.classes), len(scanners)
        self._labels, self._scanner = torch.tensor(images.labels), positions(images.scanners, scanners)
        self._chances = torch.from_numpy(partly_class_balanced(images.labels, parameters.class_balance))
        if device.type != "cpu":
            self._resident = torch.from_numpy(np.ascontiguousarray(images.images)).to(device)
            self._floats = torch.from_numpy(to_float(np.arange(256, dtype=np.uint8))).to(device)

    def draw(self, seed: int) -> Batch:
        """Return the batch of a seed."""
        parameters = self._parameters
        generator = torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self._chances, parameters.batch_size, replacement=True, generator=generator)
        images, augmentation = augment(self._frames(rows), parameters.augmentation, generator)
        drop = torch.rand(2, parameters.batch_size, generator=generator) < parameters.condition_dropout
        conditions = Conditions(torch.where(drop[0], self._n_classes, self._labels[rows]),
                                torch.where(drop[1], self._n_scanners, self._scanner[rows]), augmentation)
        sigma = stratified_noise_levels(parameters.batch_size, parameters, generator)
        if self._device.type != "cpu":  # a GPU draws its own noise: the CPU would be too slow for it
            generator = torch.Generator(self._device).manual_seed(seed)
        noise = torch.randn(images.shape, generator=generator, device=self._device)
        return Batch(images, noise, sigma.to(self._device), conditions.to(self._device))

    def _frames(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the images of the given rows, float32 [N, 1, H, W] in [-1, 1]."""
        if self._device.type == "cpu":
            return torch.from_numpy(to_float(self._images.images[rows.numpy()])).unsqueeze(1)
        return self._floats[self._resident[rows.to(self._device)].long()].unsqueeze(1)


def stratified_noise_levels(n: int, parameters: TrainDiffusion, generator: torch.Generator) -> torch.Tensor:
    """Draw log-normal noise levels, float32 [n]: one from each of n equally likely strata, in random order."""
    quantiles = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
    normal = torch.special.ndtri(quantiles.double().clamp(1e-6, 1 - 1e-6))
    return (parameters.noise_mean + parameters.noise_deviation * normal).exp().float()


def positions(names: np.ndarray, known: tuple[str, ...]) -> torch.Tensor:
    """Return each name's position in `known`, int64 [N]; unknown names get `len(known)`."""
    position = {name: number for number, name in enumerate(known)}
    return torch.tensor([position.get(name, len(known)) for name in names.tolist()], dtype=torch.int64)
