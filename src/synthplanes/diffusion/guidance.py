"""Guide sampling towards a class: denoise functions over the same network, and the classifier behind one of them.

none             D(x; sigma, y)
classifier_free  D(x; sigma) + s (D(x; sigma, y) - D(x; sigma))                 (Ho & Salimans 2022)
auto             D'(x; sigma, y) + s (D(x; sigma, y) - D'(x; sigma, y))         (Karras 2024; D' an early average)
classifier       D(x; sigma, y) + s sigma^2 grad_x log p(y | x; sigma)          (Dhariwal & Nichol 2021)
                 or log p(y | D(x; sigma); sigma), through the denoised estimate (Bansal 2023): as the guide was trained

Guidance acts inside an interval of noise levels only (Kynkaanniemi 2024); outside it the plain conditional estimate is
used. The guide is a small residual encoder conditioned on the noise level. The estimate that it may take is that of the
denoiser without knowing the class.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from synthplanes import records, seeds
from synthplanes.compute import weights
from synthplanes.compute.draws import class_balanced
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.batches import augment, positions, stratified_noise_levels
from synthplanes.diffusion.denoiser import SIGMA_D, Conditions, Denoiser, without_class
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import GROUPS, Sample, TrainDiffusion, TrainGuide

NOISE_FEATURES = 32  # sinusoids of log sigma


@dataclass
class GuidedDenoiser:
    """Denoise one batch with guidance (a `solvers.Denoise`), and count the images passed through the networks."""

    denoiser: Denoiser
    conditions: Conditions
    parameters: Sample
    guide: Any = None  # classifier: the noise-aware Guide; auto: the early average, a Denoiser
    # forward only, or `trained`: forward and backward, through the guide and, where it takes estimates, the denoiser
    passes: Counter = field(default_factory=Counter)

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        kind, scale, (low, high) = (self.parameters.guidance, self.parameters.guidance_scale,
                                    self.parameters.guidance_interval)
        sigmas = torch.full((len(x),), sigma, device=x.device)
        with torch.no_grad():
            denoised = self.denoiser(x, sigmas, self.conditions)
            self.passes["forward"] += len(x)
            if kind == "none" or not low <= sigma <= high:
                return denoised
            if kind == "classifier":
                self.passes["trained"] += (2 if self.guide.takes_estimate else 1) * len(x)
                return denoised + scale * sigma ** 2 * self.gradient(x, sigmas)
            self.passes["forward"] += len(x)
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


class Block(nn.Module):
    """Compute a residual block whose scale and shift come from the noise level; it halves the resolution."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(min(GROUPS, width_in), width_in), nn.GroupNorm(GROUPS, width_out)
        self.conv_1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(width_out, width_out, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(width_in, width_out, 1)
        self.modulate = nn.Linear(2 * NOISE_FEATURES, 2 * width_out)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(noise)[:, :, None, None].chunk(2, dim=1)
        h = self.conv_1(functional.silu(self.norm_1(x)))
        h = self.conv_2(functional.silu(self.norm_2(h) * (1 + scale) + shift))
        return h + self.skip(functional.avg_pool2d(x, 2))


class Guide(nn.Module):
    """Classify normalised images float32 [N, 1, H, W] at noise levels sigma float32 [N]: logits float32 [N, K].

    `input` says what the images are: "noisy_image", or "denoised_estimate" of one.
    """

    def __init__(self, channels: Sequence[int], n_classes: int, unshuffle: int, input: str = "noisy_image"):
        super().__init__()
        self.unshuffle, self.takes_estimate = unshuffle, input == "denoised_estimate"
        self.stem = nn.Conv2d(unshuffle ** 2, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in zip((channels[0], *channels[:-1]), channels, strict=True))
        self.norm = nn.GroupNorm(GROUPS, channels[-1])
        self.head = nn.Linear(channels[-1], n_classes)
        self.register_buffer("frequencies", torch.exp2(torch.linspace(-2, 4, NOISE_FEATURES)))

    def forward(self, images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        angles = sigma.log()[:, None] * self.frequencies
        noise = torch.cat([angles.sin(), angles.cos()], dim=1)                                        # [N, 64]
        noise_variance = torch.zeros_like(sigma) if self.takes_estimate else sigma ** 2
        c_in = (noise_variance + SIGMA_D ** 2).rsqrt()
        h = self.stem(functional.pixel_unshuffle(images * c_in.view(-1, 1, 1, 1), self.unshuffle))    # [N, C, H/u, W/u]
        for block in self.blocks:
            h = block(h, noise)
        return self.head(functional.silu(self.norm(h)).mean(dim=(2, 3)))                              # [N, K]


def train_guide(train_set: LabelledImages, denoiser: Denoiser, parameters: TrainGuide, diffusion: TrainDiffusion,
                root_seed: int, replicate: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train a guide on the device of its generator's denoiser, which was trained on `train_set` with `diffusion`.

    Returns the guide's weights and the keyword arguments that build it. Raises `UserError` when the loss is not finite.
    """
    torch.manual_seed(seeds.derive(root_seed, "guide initialisation", replicate))
    description: dict[str, Any] = dict(channels=parameters.channels, n_classes=len(train_set.classes),
                                       unshuffle=denoiser.configuration.unshuffle, input=parameters.input)
    device = next(denoiser.parameters()).device
    guide = Guide(**description).to(device)
    optimiser = torch.optim.AdamW(guide.parameters(), lr=parameters.learning_rate,
                                  weight_decay=parameters.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, parameters.learning_rate, parameters.updates)
    scanners = positions(train_set.scanners, denoiser.configuration.scanners)
    labels, chances = torch.tensor(train_set.labels), torch.from_numpy(class_balanced(train_set.labels))
    progress = Progress("guide", parameters.updates, "updates")
    for step in range(parameters.updates):
        generator = torch.Generator().manual_seed(seeds.derive(root_seed, "guide batch", replicate, step))
        rows = torch.multinomial(chances, parameters.batch_size, replacement=True, generator=generator)
        images = torch.from_numpy(to_float(train_set.images[rows.numpy()])).unsqueeze(1)
        images, augmentation = augment(images, diffusion.augmentation, generator)
        sigma = stratified_noise_levels(parameters.batch_size, diffusion, generator)
        noise = sigma.view(-1, 1, 1, 1) * torch.randn(images.shape, generator=generator)
        noisy, sigma = (denoiser.normalise(images) + noise).to(device), sigma.to(device)
        if guide.takes_estimate:
            conditions = Conditions(labels[rows], scanners[rows], augmentation).to(device)
            with torch.no_grad():
                noisy = without_class(denoiser, noisy, sigma, conditions)
        loss = functional.cross_entropy(guide(noisy, sigma), labels[rows].to(device))
        if not torch.isfinite(loss):
            raise UserError(f"the guide's loss is {loss.item()} at step {step}: lower train_guide.learning_rate "
                            "in params.yaml.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, f"loss {loss.item():.3f}")
    return guide.state_dict(), description


def read_guide(folder: Path) -> Guide:
    """Read a guide, in evaluation mode, onto the CPU."""
    guide = Guide(**records.read_json(Path(folder) / weights.FILES[0]))
    guide.load_state_dict(weights.read_weights(Path(folder) / weights.FILES[1]))
    return guide.eval()
