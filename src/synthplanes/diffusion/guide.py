"""The noise-aware classifier p(y | x; sigma) behind classifier guidance (Dhariwal & Nichol 2021).

A small residual encoder that sees noisy images together with their noise level.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from synthplanes import records, seeds, weights
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import augment
from synthplanes.diffusion.batches import draw_chances, stratified_noise
from synthplanes.diffusion.denoiser import SIGMA_D, Configuration
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.sections import GROUPS, TrainDiffusion, TrainGuide

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
    """Log-odds float32 [N, K] of noisy, normalised images float32 [N, 1, H, W] at sigma float32 [N]."""

    def __init__(self, channels: tuple[int, ...], n_classes: int, unshuffle: int):
        super().__init__()
        self.unshuffle = unshuffle
        self.stem = nn.Conv2d(unshuffle ** 2, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in zip((channels[0], *channels[:-1]), channels))
        self.norm = nn.GroupNorm(GROUPS, channels[-1])
        self.head = nn.Linear(channels[-1], n_classes)
        self.register_buffer("frequencies", torch.exp2(torch.linspace(-2, 4, NOISE_FEATURES)))

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        angles = sigma.log()[:, None] * self.frequencies
        noise = torch.cat([angles.sin(), angles.cos()], dim=1)
        c_in = 1 / (sigma ** 2 + SIGMA_D ** 2).sqrt()
        h = self.stem(functional.pixel_unshuffle(noisy * c_in.view(-1, 1, 1, 1), self.unshuffle))
        for block in self.blocks:
            h = block(h, noise)
        return self.head(functional.silu(self.norm(h)).mean(dim=(2, 3)))


def train_guide(train_set: LabelledImages, configuration: Configuration, parameters: TrainGuide,
                diffusion: TrainDiffusion, root_seed: int, replicate: int, device: torch.device
                ) -> tuple[dict[str, torch.Tensor], dict]:
    """Train on the generator's own images, noise levels and normalisation; returns weights and config.json."""
    torch.manual_seed(seeds.derive(root_seed, "guide initialisation", replicate))
    guide = Guide(tuple(parameters.channels), len(train_set.classes), configuration.unshuffle).to(device)
    optimiser = torch.optim.AdamW(guide.parameters(), lr=parameters.learning_rate,
                                  weight_decay=parameters.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, parameters.learning_rate, parameters.updates)
    labels, chances = torch.from_numpy(train_set.labels), draw_chances(train_set.labels, class_balance=1.0)
    progress = Progress("guide", parameters.updates, "updates")
    for step in range(parameters.updates):
        generator = torch.Generator().manual_seed(seeds.derive(root_seed, "guide batch", replicate, step))
        rows = torch.multinomial(chances, parameters.batch_size, replacement=True, generator=generator)
        images = torch.from_numpy(to_float(train_set.images[rows.numpy()])).unsqueeze(1)
        batch, _ = augment(images, diffusion.augmentation, generator)
        sigma = stratified_noise(parameters.batch_size, diffusion, generator)
        clean = (batch - configuration.data_mean) * (SIGMA_D / configuration.data_deviation)
        noisy = clean + sigma.view(-1, 1, 1, 1) * torch.randn(batch.shape, generator=generator)
        loss = functional.cross_entropy(guide(noisy.to(device), sigma.to(device)), labels[rows].to(device))
        if not torch.isfinite(loss):
            raise UserError(f"the guide's loss is {loss.item()} at step {step}: lower train_guide.learning_rate "
                            "in params.yaml.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, f"loss {loss.item():.3f}")
    return guide.state_dict(), dict(channels=list(parameters.channels), n_classes=len(train_set.classes),
                                    unshuffle=configuration.unshuffle)


def write_guide(folder: Path, tensors: dict[str, torch.Tensor], configuration: dict) -> None:
    records.write_json(Path(folder) / "config.json", configuration)
    weights.write_weights(Path(folder) / "weights.safetensors", tensors)


def read_guide(folder: Path) -> Guide:
    """A guide in evaluation mode on the CPU."""
    content = records.read_json(Path(folder) / "config.json")
    guide = Guide(tuple(content["channels"]), content["n_classes"], content["unshuffle"])
    guide.load_state_dict(weights.read_weights(Path(folder) / "weights.safetensors"))
    return guide.eval()
