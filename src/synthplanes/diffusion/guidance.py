"""Ways to ask for a class: denoise functions over the same network.

none             D(x; sigma, y)
classifier_free  D(x; sigma) + s (D(x; sigma, y) - D(x; sigma))                 (Ho & Salimans 2022)
auto             D'(x; sigma, y) + s (D(x; sigma, y) - D'(x; sigma, y))         (Karras 2024; D' an early average)
classifier       D(x; sigma, y) + s sigma^2 grad_x log p(y | x; sigma)          (Dhariwal & Nichol 2021)
                 or log p(y | D(x; sigma); sigma), through the denoised estimate (Bansal 2023): as the guide was trained

Inside the interval of noise levels only (Kynkaanniemi 2024); outside it, and at a scale that changes
nothing, the plain conditional estimate.
"""

from dataclasses import dataclass

import torch

from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guide import Guide, estimate


@dataclass
class GuidedDenoiser:
    """A `solvers.Denoise` for one batch; counts the images passed through the networks, forward or there and back."""

    denoiser: Denoiser
    conditions: Conditions
    kind: str                        # none | classifier | classifier_free | auto
    scale: float                     # s
    interval: tuple[float, float]    # noise levels, lowest and highest
    guide: Guide | Denoiser | None = None  # classifier: the noise-aware classifier; auto: the early average
    forward_image_passes: int = 0
    gradient_image_passes: int = 0   # forward and backward, through the guide and what lies before it

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        level = torch.full((len(x),), sigma, device=x.device)
        inside = self.interval[0] <= sigma <= self.interval[1]
        with torch.no_grad():
            denoised = self.denoiser(x, level, self.conditions)
            self.forward_image_passes += len(x)
            if not inside or self.kind == "none":
                return denoised
            if self.kind == "classifier_free":
                unknown = self.conditions.without_label(len(self.denoiser.configuration.classes))
                self.forward_image_passes += len(x)
                free = self.denoiser(x, level, unknown)
                return free + self.scale * (denoised - free)
            if self.kind == "auto":
                self.forward_image_passes += len(x)
                early = self.guide(x, level, self.conditions)
                return early + self.scale * (denoised - early)
        self.gradient_image_passes += (2 if self.guide.sees_estimate else 1) * len(x)
        return denoised + self.scale * sigma ** 2 * self.gradient(x, level)

    def gradient(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """grad_x of the guide's log p(y | ...) per image, the shape of `x`."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            seen = estimate(self.denoiser, x, level, self.conditions) if self.guide.sees_estimate else x
            chosen = self.guide(seen, level).log_softmax(dim=1).gather(1, self.conditions.label[:, None])
            return torch.autograd.grad(chosen.sum(), x)[0]
