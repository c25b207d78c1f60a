"""What a denoiser is told about an image: its class, its scanner and how it was augmented.

Each condition has its own embedding and its own "unknown" entry, so that combinations of class and
scanner which never occur in training can be drawn, and so that one network gives the conditional and
the unconditional estimate (classifier-free guidance, Ho & Salimans 2022).
"""

from typing import NamedTuple

import torch
from torch import nn


class Conditions(NamedTuple):
    """One row per image."""

    label: torch.Tensor         # int64 [N] in 0..K; K means unknown
    scanner: torch.Tensor       # int64 [N] in 0..M; M means unknown
    augmentation: torch.Tensor  # float32 [N, A]; zeros mean none

    def to(self, device: torch.device) -> "Conditions":
        return Conditions(*(part.to(device) for part in self))

    def of(self, rows) -> "Conditions":
        """The conditions of some rows (a slice or an index)."""
        return Conditions(*(part[rows] for part in self))

    def without_label(self, n_classes: int) -> "Conditions":
        """The same images, their class unknown."""
        return self._replace(label=torch.full_like(self.label, n_classes))


class ConditionEmbedding(nn.Module):
    """The sum of the embeddings of all conditions: float32 [N, D], added to the noise level's embedding."""

    def __init__(self, n_classes: int, n_scanners: int, n_augmentations: int, dimensions: int):
        super().__init__()
        self.label = nn.Embedding(n_classes + 1, dimensions)
        self.scanner = nn.Embedding(n_scanners + 1, dimensions)
        self.augmentation = nn.Linear(n_augmentations, dimensions, bias=False)  # zeros in, nothing added

    def forward(self, conditions: Conditions) -> torch.Tensor:
        return (self.label(conditions.label) + self.scanner(conditions.scanner)
                + self.augmentation(conditions.augmentation))
