"""Define the conditions of a denoiser: an image's class, its scanner and its augmentation.

Each condition has its own embedding with an entry for unknown. Therefore combinations of class and scanner that never
occur in training can be drawn, and one network gives the conditional and the unconditional estimate (classifier-free
guidance, Ho & Salimans 2022).
"""

from typing import NamedTuple

import torch
from torch import nn


class Conditions(NamedTuple):
    """The conditions of N images."""

    label: torch.Tensor         # int64 [N] in 0..K; K means unknown
    scanner: torch.Tensor       # int64 [N] in 0..M; M means unknown
    augmentation: torch.Tensor  # float32 [N, A]; zeros mean none

    def to(self, device: torch.device) -> "Conditions":
        """Move all tensors to a device."""
        return Conditions(*(part.to(device) for part in self))

    def of(self, rows: slice | torch.Tensor) -> "Conditions":
        """Return the conditions of the given rows."""
        return Conditions(*(part[rows] for part in self))

    def without_label(self, n_classes: int) -> "Conditions":
        """Return the same conditions with unknown classes."""
        return self._replace(label=torch.full_like(self.label, n_classes))


class ConditionEmbedding(nn.Module):
    """Sum the embeddings of all conditions to float32 [N, D], which is added to the noise level's embedding."""

    def __init__(self, n_classes: int, n_scanners: int, n_augmentations: int, dimensions: int):
        super().__init__()
        self.label = nn.Embedding(n_classes + 1, dimensions)
        self.scanner = nn.Embedding(n_scanners + 1, dimensions)
        self.augmentation = nn.Linear(n_augmentations, dimensions, bias=False)  # zeros in, nothing added

    def forward(self, conditions: Conditions) -> torch.Tensor:
        return (self.label(conditions.label) + self.scanner(conditions.scanner)
                + self.augmentation(conditions.augmentation))
