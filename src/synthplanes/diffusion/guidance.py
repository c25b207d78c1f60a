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

from synthplanes.diffusion.denoiser import Conditions, Denoiser, without_class
from synthplanes.protocol.config import Sample


@dataclass
class GuidedDenoiser:
    """Denoise one batch with guidance (a `solvers.Denoise`), and count the images passed through the networks."""

    denoiser: Denoiser
    conditions: Conditions
    parameters: Sample
    guide: Any = None                # classifier: the noise-aware Guide; auto: the early average, a Denoiser
    forward_image_passes: int = 0
    gradient_image_passes: int = 0   # forward and backward: guide and, where it takes estimates, denoiser

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        kind, scale, (low, high) = (self.parameters.guidance, self.parameters.guidance_scale,
                                    self.parameters.guidance_interval)
        sigmas = torch.full((len(x),), sigma, device=x.device)
        with torch.no_grad():
            denoised = self.denoiser(x, sigmas, self.conditions)
            self.forward_image_passes += len(x)
            if kind == "none" or not low <= sigma <= high:
                return denoised
            if kind == "classifier":
                self.gradient_image_passes += (2 if self.guide.takes_estimate else 1) * len(x)
                return denoised + scale * sigma ** 2 * self.gradient(x, sigmas)
            self.forward_image_passes += len(x)
            poorer = (without_class(self.denoiser, x, sigmas, self.conditions) if kind == "classifier_free"
                      else self.guide(x, sigmas, self.conditions))
            return poorer + scale * (denoised - poorer)

    @torch.enable_grad()
    def gradient(self, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """Compute grad_x of the guide's log p(y | ...), image by image: the shape of `x`."""
        x = x.detach().requires_grad_(True)
        image = without_class(self.denoiser, x, sigmas, self.conditions) if self.guide.takes_estimate else x
        log_p = self.guide(image, sigmas).log_softmax(dim=1).gather(1, self.conditions.label[:, None])
        return torch.autograd.grad(log_p.sum(), x)[0]
