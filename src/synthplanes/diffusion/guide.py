"""The noise-aware classifier behind classifier guidance: a small residual encoder that is told the noise level.

It sees the noisy image, p(y | x; sigma) (Dhariwal & Nichol 2021), or what the denoiser, told no class, makes of it,
p(y | D(x; sigma); sigma); then the gradient with respect to x goes through the denoised estimate (Bansal 2023).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from synthplanes import records, seeds
from synthplanes.compute import weights
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import augment
from synthplanes.diffusion.batches import draw_chances, positions, stratified_noise
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import SIGMA_D, Denoiser
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import GROUPS, TrainDiffusion, TrainGuide

NOISE_FEATURES = 32  # sinusoids of log sigma


class Block(nn.Module):
    """A residual block whose scale and shift come from the noise level; halves the resolution."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(min(GROUPS, inside), inside), nn.GroupNorm(GROUPS, outside)
        self.conv_1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv_2 = nn.Conv2d(outside, outside, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1)
        self.modulate = nn.Linear(2 * NOISE_FEATURES, 2 * outside)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(noise)[:, :, None, None].chunk(2, dim=1)
        h = self.conv_1(functional.silu(self.norm_1(x)))
        h = self.conv_2(functional.silu(self.norm_2(h) * (1 + scale) + shift))
        return h + self.skip(functional.avg_pool2d(x, 2))


class Guide(nn.Module):
    """Log-odds float32 [N, K] of normalised images float32 [N, 1, H, W] that are noisy or, with `sees_estimate`,
    denoised from there; at sigma float32 [N]."""

    def __init__(self, channels: Sequence[int], n_classes: int, unshuffle: int, sees_estimate: bool = False):
        super().__init__()
        self.unshuffle, self.sees_estimate = unshuffle, sees_estimate
        self.stem = nn.Conv2d(unshuffle ** 2, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in zip((channels[0], *channels[:-1]), channels))
        self.norm = nn.GroupNorm(GROUPS, channels[-1])
        self.head = nn.Linear(channels[-1], n_classes)
        self.register_buffer("frequencies", torch.exp2(torch.linspace(-2, 4, NOISE_FEATURES)))

    def forward(self, seen: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        angles = sigma.log()[:, None] * self.frequencies
        noise = torch.cat([angles.sin(), angles.cos()], dim=1)
        noise_variance = torch.zeros_like(sigma) if self.sees_estimate else sigma ** 2
        c_in = 1 / (noise_variance + SIGMA_D ** 2).sqrt()
        h = self.stem(functional.pixel_unshuffle(seen * c_in.view(-1, 1, 1, 1), self.unshuffle))
        for block in self.blocks:
            h = block(h, noise)
        return self.head(functional.silu(self.norm(h)).mean(dim=(2, 3)))


def train_guide(train_set: LabelledImages, denoiser: Denoiser, parameters: TrainGuide, diffusion: TrainDiffusion,
                root_seed: int, replicate: int, device: torch.device) -> tuple[dict[str, torch.Tensor], dict]:
    """Train on the generator's own images, noise levels and normalisation; returns weights and config.json."""
    torch.manual_seed(seeds.derive(root_seed, "guide initialisation", replicate))
    description = dict(channels=list(parameters.channels), n_classes=len(train_set.classes),
                       unshuffle=denoiser.configuration.unshuffle,
                       sees_estimate=parameters.sees == "denoised_estimate")
    guide = Guide(**description).to(device)
    denoiser = denoiser.to(device).eval()
    optimiser = torch.optim.AdamW(guide.parameters(), lr=parameters.learning_rate,
                                  weight_decay=parameters.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, parameters.learning_rate, parameters.updates)
    scanners = positions(train_set.scanners, denoiser.configuration.scanners)
    labels, chances = torch.from_numpy(train_set.labels), draw_chances(train_set.labels, class_balance=1.0)
    progress = Progress("guide", parameters.updates, "updates")
    for step in range(parameters.updates):
        generator = torch.Generator().manual_seed(seeds.derive(root_seed, "guide batch", replicate, step))
        rows = torch.multinomial(chances, parameters.batch_size, replacement=True, generator=generator)
        images = torch.from_numpy(to_float(train_set.images[rows.numpy()])).unsqueeze(1)
        batch, augmentation = augment(images, diffusion.augmentation, generator)
        sigma = stratified_noise(parameters.batch_size, diffusion, generator)
        noise = sigma.view(-1, 1, 1, 1) * torch.randn(batch.shape, generator=generator)
        seen, sigma = (denoiser.normalise(batch) + noise).to(device), sigma.to(device)
        if guide.sees_estimate:
            with torch.no_grad():
                told = Conditions(labels[rows], scanners[rows], augmentation).to(device)
                seen = estimate(denoiser, seen, sigma, told)
        loss = functional.cross_entropy(guide(seen, sigma), labels[rows].to(device))
        if not torch.isfinite(loss):
            raise UserError(f"the guide's loss is {loss.item()} at step {step}: lower train_guide.learning_rate "
                            "in params.yaml.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, f"loss {loss.item():.3f}")
    return guide.state_dict(), description


def estimate(denoiser: Denoiser, noisy: torch.Tensor, sigma: torch.Tensor, conditions: Conditions) -> torch.Tensor:
    """What a guide on estimates sees of noisy images: D(x; sigma), told everything but the class."""
    return denoiser(noisy, sigma, conditions.without_label(len(denoiser.configuration.classes)))


def write_guide(folder: Path, tensors: dict[str, torch.Tensor], configuration: dict) -> None:
    records.write_json(Path(folder) / "config.json", configuration)
    weights.write_weights(Path(folder) / "weights.safetensors", tensors)


def read_guide(folder: Path) -> Guide:
    """A guide in evaluation mode on the CPU."""
    guide = Guide(**records.read_json(Path(folder) / "config.json"))
    guide.load_state_dict(weights.read_weights(Path(folder) / "weights.safetensors"))
    return guide.eval()
