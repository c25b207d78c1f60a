"""Weigh images by stratum and count them by patient, for means that are clustered by patient.

The metrics of this package are means over strata of the mean over a stratum's images: balanced accuracy has the classes
as strata, accuracy has one. A block is the set of images of one patient in one stratum. Intervals and the bootstrap
need sums over blocks and the blocks' sizes only, never single images. One frame serves every table over its images.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Blocks:
    """The blocks of a set of images, in the order of (patient, stratum); those without an image are left out."""

    of_image: np.ndarray    # int [images]: the block of each image
    patient: np.ndarray     # int [blocks] from 0
    stratum: np.ndarray     # int [blocks] from 0
    size: np.ndarray        # int [blocks]: images, at least 1
    n_patients: int
    n_strata: int

    @classmethod
    def balanced(cls, labels: np.ndarray, patients: np.ndarray) -> "Blocks":
        """Build the frame of balanced accuracy: every class weighs the same, however many images it has.

        `labels` and `patients` [images] are names of any sortable type.
        """
        return cls._of(np.unique(labels, return_inverse=True)[1], patients)

    @classmethod
    def uniform(cls, labels: np.ndarray, patients: np.ndarray) -> "Blocks":
        """Build the frame of accuracy: every image weighs the same; of `labels` only the length counts."""
        return cls._of(np.zeros(len(labels), dtype=np.int64), patients)

    @classmethod
    def _of(cls, strata: np.ndarray, patients: np.ndarray) -> "Blocks":
        """Build the frame from the stratum of each image, int from 0 without a gap, and its patient."""
        patient = np.unique(patients, return_inverse=True)[1]
        n_strata = int(strata.max()) + 1
        block, of_image, size = np.unique(patient * n_strata + strata, return_inverse=True, return_counts=True)
        return cls(of_image, block // n_strata, block % n_strata, size, int(patient.max()) + 1, n_strata)

    @cached_property
    def images_in_stratum(self) -> np.ndarray:
        """Return the number of images of each stratum, int [strata]."""
        return np.bincount(self.stratum, weights=self.size, minlength=self.n_strata).astype(np.int64)

    @cached_property
    def patients_in_stratum(self) -> np.ndarray:
        """Return the number of patients with an image in each stratum, int [strata]."""
        return np.bincount(self.stratum, minlength=self.n_strata)

    @cached_property
    def image_weight(self) -> np.ndarray:
        """Return the weight of each image of a block, 1 / (strata x images in its stratum): float64 [blocks]."""
        return (1 / (self.n_strata * self.images_in_stratum))[self.stratum]

    @cached_property
    def leverage(self) -> np.ndarray:
        """Return each block's share of the images of its stratum, in (0, 1]: float64 [blocks]."""
        return self.size / self.images_in_stratum[self.stratum]

    @cached_property
    def n_effective_patients(self) -> float:
        """Return the number of patients of equal weight that would carry the same information.

        (sum_p v_p)^2 / sum_p v_p^2, with v_p the sum over the images of patient p of their squared weights.
        """
        information = np.bincount(self.patient, weights=self.size * self.image_weight ** 2)
        return float(information.sum() ** 2 / np.square(information).sum())

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the weighted mean of each row of `values` [rows, images]: float64 [rows]."""
        return (sum_by(self.stratum[self.of_image], values, self.n_strata) / self.images_in_stratum).mean(axis=1)

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum `values` [rows, images] over the images of each block: float64 [rows, blocks]."""
        return sum_by(self.of_image, values, len(self.size))


# Metric -> the function that builds its frame from the labels and patients of images.
FRAMES = {"balanced_accuracy": Blocks.balanced, "accuracy": Blocks.uniform}


def sum_by(group: np.ndarray, values: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum the columns of `values` [rows, columns] by group [columns]: float64 [rows, n_groups]."""
    return np.stack([np.bincount(group, weights=row, minlength=n_groups) for row in values])
