"""Train the denoiser by another loss: v-prediction weighted by min-SNR (Hang 2023, gamma 5), at DDPM's noise levels.

With EDM's preconditioning the network's output is minus the velocity v of images scaled to unit variance (Salimans &
Ho 2022), at alpha = sigma_d / sqrt(sigma^2 + sigma_d^2), and EDM's weighting gives its squared error the weight 1 at
every level. So the two losses differ in that weight, and in how often a noise level is drawn.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from diffusers_script import levels_of_steps

from synthplanes.diffusion import batches, training
from synthplanes.diffusion.denoiser import SIGMA_D, loss_per_image

GAMMA = 5.0


@contextmanager
def min_snr() -> Iterator[None]:
    """While open, let `training.train` minimise that loss; its held-out loss stays ours, so that curves compare."""
    levels = SIGMA_D * levels_of_steps()

    def noise_levels(n: int, _, generator: torch.Generator) -> torch.Tensor:
        strata = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
        return levels[(strata * len(levels)).long().clamp(max=len(levels) - 1)].float()

    def loss(denoiser, clean, noise, sigma, conditions) -> torch.Tensor:
        edm = loss_per_image(denoiser, clean, noise, sigma, conditions)
        snr = (SIGMA_D / sigma) ** 2
        return edm * snr.clamp(max=GAMMA) / (snr + 1) if torch.is_grad_enabled() else edm

    with (patch.object(batches, "stratified_noise_levels", noise_levels),
          patch.object(training, "loss_per_image", loss)):
        yield
