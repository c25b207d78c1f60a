"""Guide sampling towards a class: denoise functions over the same network.

none             D(x; sigma, y)
classifier_free  D(x; sigma) + s (D(x; sigma, y) - D(x; sigma))                 (Ho & Salimans 2022)
auto             D'(x; sigma, y) + s (D(x; sigma, y) - D'(x; sigma, y))         (Karras 2024; D' an early average)
classifier       D(x; sigma, y) + s sigma^2 grad_x log p(y | x; sigma)          (Dhariwal & Nichol 2021)
                 or log p(y | D(x; sigma); sigma), through the denoised estimate (Bansal 2023): as the guide was trained

Guidance acts inside an interval of noise levels only (Kynkaanniemi 2024); outside it the plain conditional estimate is
used.
"""

from dataclasses import dataclass
from typing import Any

import torch

from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guide import estimate


@dataclass
class GuidedDenoiser:
    """Denoise one batch with guidance (a `solvers.Denoise`), and count the images passed through the networks."""

    denoiser: Denoiser
    conditions: Conditions
    kind: str                        # none | classifier | classifier_free | auto
    scale: float                     # s
    interval: tuple[float, float]    # noise levels, lowest and highest
    guide: Any = None                # classifier: the noise-aware Guide; auto: the early average, a Denoiser
    forward_image_passes: int = 0
    gradient_image_passes: int = 0   # forward and backward: guide and, where it takes estimates, denoiser

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        sigmas = torch.full((len(x),), sigma, device=x.device)
        inside = self.interval[0] <= sigma <= self.interval[1]
        with torch.no_grad():
            denoised = self.denoiser(x, sigmas, self.conditions)
            self.forward_image_passes += len(x)
            if not inside or self.kind == "none":
                return denoised
            if self.kind == "classifier_free":
                unknown = self.conditions.without_label(len(self.denoiser.configuration.classes))
                self.forward_image_passes += len(x)
                free = self.denoiser(x, sigmas, unknown)
                return free + self.scale * (denoised - free)
            if self.kind == "auto":
                self.forward_image_passes += len(x)
                early = self.guide(x, sigmas, self.conditions)
                return early + self.scale * (denoised - early)
        self.gradient_image_passes += (2 if self.guide.takes_estimate else 1) * len(x)
        return denoised + self.scale * sigma ** 2 * self.gradient(x, sigmas)

    def gradient(self, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """Compute grad_x of the guide's log p(y | ...), image by image: the shape of `x`."""
        guide = self.guide
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            image = estimate(self.denoiser, x, sigmas, self.conditions) if guide.takes_estimate else x
            log_p = guide(image, sigmas).log_softmax(dim=1).gather(1, self.conditions.label[:, None])
            return torch.autograd.grad(log_p.sum(), x)[0]
