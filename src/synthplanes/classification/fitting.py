"""Fit a classifier: the one training loop of all arms, with its augmentation.

Batches are class-balanced, the optimiser is AdamW with one schedule, and the result is an average of the weights. No
checkpoint is selected: validation images are evaluated once per classifier, after training.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from synthplanes.compute.draws import class_balanced, patient_balanced
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError
from synthplanes.protocol.config import Recipe

HISTORY_POINTS = 20  # per stage of a run
# Of the augmentation:
SHIFT = 0.08   # of the width, maximum
SCALE = 0.12   # relative, maximum
ANGLE = 0.20   # radians, maximum
GAIN = 0.25    # relative brightness, maximum
# Only in the strong policy, of the arm `real_augmented`:
TIMES = 2.0    # factor on the maxima above
CONTRAST = 0.5   # |ln gamma|, maximum
ERASED = 0.5   # probability of a black rectangle
SIDE = 0.25    # half side of the rectangle, of the width, maximum


@dataclass(frozen=True)
class Portion:
    """A part of every batch: images from one set, with batch-norm statistics of its own."""

    images: LabelledImages
    size: int                  # images per batch
    keeps_statistics: bool     # whether the running batch-norm statistics come from this portion
    strong: bool = False       # augmented by the strong policy
    by_patient: bool = False   # within a class, patients are equally likely instead of images

    @cached_property
    def chances(self) -> torch.Tensor:
        """Return each image's sampling probability, float64 [N]."""
        return torch.from_numpy(patient_balanced(self.images) if self.by_patient
                                else class_balanced(self.images.labels))

    def draw(self, strength: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one batch's images float32 [n, 1, H, W] in [-1, 1], augmented, and their labels int64 [n]."""
        rows = torch.multinomial(self.chances, self.size, replacement=True, generator=generator).numpy()
        images = torch.from_numpy(to_float(self.images.images[rows])).unsqueeze(1)
        images = (augment_strongly if self.strong else augment)(images, strength, generator)
        return images, torch.from_numpy(self.images.labels[rows])


@dataclass(frozen=True)
class TrainingStage:
    """One schedule of updates on one kind of batch."""

    portions: Sequence[Portion]
    updates: int
    peak_learning_rate: float
    order_seed: int            # of the batches, dropout and drop path


def fit(network: nn.Module, stage: TrainingStage, recipe: Recipe, device: torch.device, teacher: nn.Module | None = None
        ) -> list[tuple[int, float]]:
    """Train `network` in place and leave the average of its weights in it.

    Returns (update, mean training loss since the last) pairs. With a `teacher`, half of every target is that network's
    prediction for the same augmented image. The batches depend on the order seed and the portions alone, so arms with
    the same seed and the same images have the same batches. Raises `UserError` when the loss is not finite.
    """
    generator = torch.Generator().manual_seed(stage.order_seed)
    torch.manual_seed(stage.order_seed)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # faster on CPUs
    parameters = list(network.parameters())
    averaged = [*parameters, *(buffer for buffer in network.buffers() if buffer.is_floating_point())]
    average, keep = [tensor.detach().clone() for tensor in averaged], 0.5 ** (1 / recipe.ema_halflife_updates)
    optimiser = torch.optim.AdamW([
        dict(params=[parameter for parameter in parameters if parameter.ndim > 1], weight_decay=recipe.weight_decay),
        dict(params=[parameter for parameter in parameters if parameter.ndim <= 1], weight_decay=0.0),
    ], lr=stage.peak_learning_rate, fused=True)
    normalised = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    total = sum(portion.size for portion in stage.portions)
    if teacher is not None:
        teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    history, since = [], []
    for update in range(stage.updates):
        for group in optimiser.param_groups:
            group["lr"] = stage.peak_learning_rate * schedule(update, stage.updates, recipe.warmup_fraction)
        optimiser.zero_grad(set_to_none=True)
        losses = []
        for portion in stage.portions:
            images, targets = portion.draw(recipe.augmentation, generator)
            images, targets = images.to(device, memory_format=torch.channels_last), targets.to(device)
            if teacher is not None:
                prediction = teacher(images).softmax(dim=1)
                targets = (functional.one_hot(targets, prediction.shape[1]) + prediction) / 2
            with batch_norm_statistics(normalised, kept=portion.keeps_statistics):
                losses.append(functional.cross_entropy(network(images), targets, reduction="sum",
                                                       label_smoothing=recipe.label_smoothing) / total)
        loss = torch.stack(losses).sum()
        if not torch.isfinite(loss):
            raise UserError(f"a classifier's loss is {loss.item()} at update {update}: lower its learning_rate under "
                            "archs in params.yaml.")
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, averaged, 1 - min(keep, (1 + update) / (10 + update)))
        since.append(loss.item())
        if (update + 1) % max(1, stage.updates // HISTORY_POINTS) == 0:
            history.append((update + 1, float(np.mean(since))))
            since = []
    with torch.no_grad():
        torch._foreach_copy_(averaged, average)
    return history


def schedule(update: int, updates: int, warmup_fraction: float) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then a half cosine to zero."""
    done, warm = (update + 0.5) / updates, max(warmup_fraction, 1e-9)
    if done < warm:
        return done / warm
    return 0.5 * (1 + np.cos(np.pi * (done - warm) / (1 - warm)))


@contextmanager
def batch_norm_statistics(layers: Sequence[nn.Module], kept: bool) -> Iterator[None]:
    """Let batches update the running statistics of batch-norm layers, inside the context, only if `kept`.

    In training, batch norm normalises by the batch's own statistics; so portions in separate passes have separate
    statistics. Prediction uses the running statistics of the kept portion.
    """
    momenta = [layer.momentum for layer in layers]
    if not kept:
        for layer in layers:
            layer.momentum = 0.0  # type: ignore[assignment]
    yield
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def augment(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Warp, flip and change the gain of float32 [N, 1, H, W] in [-1, 1]; the result has the same shape and range.

    Each magnitude is uniform up to `strength` times its maximum.
    """
    if strength == 0:
        return images
    n = len(images)
    amount = (2 * torch.rand(n, 5, generator=generator) - 1) * strength
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    scale, angle = 1 + SCALE * amount[:, 0], ANGLE * amount[:, 1]
    cosine, sine = (scale * torch.cos(angle)).view(-1, 1, 1), (scale * torch.sin(angle)).view(-1, 1, 1)
    down, across = (torch.linspace(1 / side - 1, 1 - 1 / side, side) for side in images.shape[2:])
    down, across = down.view(1, -1, 1), across.view(1, 1, -1)  # pixel centres in [-1, 1]
    right, below = (2 * SHIFT * amount[:, 2:4]).view(-1, 2, 1, 1).unbind(dim=1)
    # The grid that `affine_grid` computes, [N, H, W, 2], without its many small matrix products.
    grid = torch.stack([flip.view(-1, 1, 1) * cosine * across - sine * down + right,
                        flip.view(-1, 1, 1) * sine * across + cosine * down + below], dim=-1)
    moved = functional.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved * (1 + GAIN * amount[:, 4]).view(-1, 1, 1, 1)).clamp(0, 2) - 1


def augment_strongly(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Augment as `augment` does, in doubled ranges, then change the contrast and draw a black rectangle (Zhong 2020).

    `strength` lies in 0..1.
    """
    if strength == 0:
        return images
    n, _, height, width = images.shape
    moved = (augment(images, TIMES * strength, generator) + 1) / 2
    gamma = torch.exp(CONTRAST * strength * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1))
    centre, half = torch.rand(n, 2, generator=generator), SIDE * torch.rand(n, 2, generator=generator)
    half = half * (torch.rand(n, 1, generator=generator) < ERASED * strength)
    down, across = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    inside = (((down - centre[:, :1]).abs() < half[:, :1])[:, None, :, None]
              & ((across - centre[:, 1:]).abs() < half[:, 1:])[:, None, None, :])
    return 2 * (moved ** gamma).masked_fill(inside, 0.0) - 1
