"""`fit`: the one training loop of all arms.

Class-balanced batches, AdamW, one schedule, an average of the weights at the end, nothing selected: the
number of looks at validation is one per classifier, after training, and it decides nothing.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from synthplanes.classification.augmentation import augment, augment_strongly
from synthplanes.classification.flattening import Flattened
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.errors import UserError
from synthplanes.protocol.config import Recipe

HISTORY_POINTS = 20  # per stage of a run


@dataclass(frozen=True)
class Portion:
    """A part of every batch: images from one set, with batch-norm statistics of its own."""

    images: LabelledImages
    size: int                  # images per batch
    keeps_statistics: bool     # whether the running batch-norm statistics come from this portion
    strong: bool = False       # augmented by the strong policy
    by_patient: bool = False   # within a class patients equally likely, in place of images

    @property
    def chances(self) -> np.ndarray:
        """Each image's chance per draw, float64 [N]."""
        return patient_balanced(self.images) if self.by_patient else class_balanced(self.images.labels)


def fit(network: nn.Module, portions: list[Portion], updates: int, peak_learning_rate: float, recipe: Recipe,
        order_seed: int, device: torch.device, teacher: nn.Module | None = None
        ) -> list[tuple[int, float]]:
    """Train `network` in place and leave the average of its weights in it.

    Returns (update, mean training loss since the last) pairs.

    With a `teacher` half of every target is what that network says of the same augmented image.

    The batches depend on `order_seed` and the portions alone, so arms with the same seed and the same
    images see the same batches. Raises `UserError` when the loss is not finite.
    """
    generator = torch.Generator().manual_seed(order_seed)
    torch.manual_seed(order_seed)  # drop-out and drop-path
    network.to(device, memory_format=torch.channels_last).train()  # the faster layout on CPUs
    flat = Flattened(network)
    average, keep = flat.values.clone(), 0.5 ** (1 / recipe.ema_halflife_updates)
    optimiser = torch.optim.AdamW([dict(params=[flat.decayed], weight_decay=recipe.weight_decay),
                                   dict(params=[flat.others], weight_decay=0.0)], lr=peak_learning_rate, fused=True)
    normalised = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    chances = [torch.from_numpy(portion.chances) for portion in portions]
    if teacher is not None:
        teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    total = sum(portion.size for portion in portions)
    history, since = [], []
    for update in range(updates):
        for group in optimiser.param_groups:
            group["lr"] = peak_learning_rate * schedule(update, updates, recipe.warmup_fraction)
        loss = 0.0
        for portion, chance in zip(portions, chances):
            rows = torch.multinomial(chance, portion.size, replacement=True, generator=generator).numpy()
            images = torch.from_numpy(to_float(portion.images.images[rows])).unsqueeze(1)
            change = augment_strongly if portion.strong else augment
            images = change(images, recipe.augmentation, generator).to(device, memory_format=torch.channels_last)
            targets = torch.from_numpy(portion.images.labels[rows]).to(device)
            if teacher is not None:
                told = teacher(images).softmax(dim=1)
                targets = (functional.one_hot(targets, told.shape[1]) + told) / 2
            with batch_norm_statistics(normalised, kept=portion.keeps_statistics):
                loss = loss + functional.cross_entropy(network(images), targets, reduction="sum",
                                                       label_smoothing=recipe.label_smoothing) / total
        value = loss.item()
        if not np.isfinite(value):
            raise UserError(f"a classifier's loss is {value} at update {update}: lower its learning_rate under "
                            "archs in params.yaml.")
        flat.gradients.zero_()
        loss.backward()
        optimiser.step()
        average.lerp_(flat.values, 1 - min(keep, (1 + update) / (10 + update)))
        since.append(value)
        if (update + 1) % max(1, updates // HISTORY_POINTS) == 0:
            history.append((update + 1, float(np.mean(since))))
            since = []
    flat.release(average)
    return history


def class_balanced(labels: np.ndarray) -> np.ndarray:
    """Each image's chance per draw, float64 [N]: every class that occurs equally likely."""
    counts = np.bincount(labels)
    return 1 / (counts[labels] * np.count_nonzero(counts))


def patient_balanced(images: LabelledImages) -> np.ndarray:
    """Each image's chance per draw, float64 [N]: classes equally likely, and within a class its patients."""
    if images.patient_ids is None:
        return class_balanced(images.labels)
    _, held, counts = np.unique(np.stack([images.labels.astype(str), images.patient_ids]), axis=1, return_inverse=True,
                                return_counts=True)
    of_pair = 1 / counts[held.ravel()]
    return of_pair / (np.bincount(images.labels, of_pair)[images.labels] * len(np.unique(images.labels)))


def schedule(update: int, updates: int, warmup_fraction: float) -> float:
    """The learning rate as a share of its peak: linear warm-up, then a half cosine to zero."""
    done, warm = (update + 0.5) / updates, max(warmup_fraction, 1e-9)
    if done < warm:
        return done / warm
    return 0.5 * (1 + np.cos(np.pi * (done - warm) / (1 - warm)))


@contextmanager
def batch_norm_statistics(layers: list[nn.Module], kept: bool):
    """While open, a batch changes the running statistics of these batch-norm layers only if `kept`.

    In training, batch norm normalises by the batch's own statistics; so portions in passes of their own
    have separate statistics, and prediction uses those of the kept portion.
    """
    momenta = [layer.momentum for layer in layers]
    if not kept:
        for layer in layers:
            layer.momentum = 0.0
    yield
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
