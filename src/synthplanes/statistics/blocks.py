"""Images counted by patient and by stratum: the frame in which weighted means are clustered.

A block is what one patient has in one stratum (of balanced accuracy: in one class). The statistics of this room
need sums over blocks and the blocks' sizes only, never single images.
"""

from dataclasses import dataclass

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
    def of(cls, strata: np.ndarray, patients: np.ndarray) -> "Blocks":
        """From the stratum, int from 0, and the patient (any sortable name) of each image."""
        patient = np.unique(patients, return_inverse=True)[1]
        n_strata = int(strata.max()) + 1
        block, of_image = np.unique(patient * n_strata + strata, return_inverse=True)
        return cls(of_image, block // n_strata, block % n_strata, np.bincount(of_image),
                   int(patient.max()) + 1, n_strata)

    @property
    def images_in_stratum(self) -> np.ndarray:
        """int [strata]"""
        return np.bincount(self.stratum, weights=self.size, minlength=self.n_strata).astype(np.int64)

    @property
    def patients_in_stratum(self) -> np.ndarray:
        """int [strata]"""
        return np.bincount(self.stratum, minlength=self.n_strata)

    @property
    def image_weight(self) -> np.ndarray:
        """float64 [blocks]: what each image of a block weighs, 1 / (strata x images in its stratum)."""
        return (1 / (self.n_strata * self.images_in_stratum))[self.stratum]

    def totals(self, values: np.ndarray) -> np.ndarray:
        """float64 [rows, blocks]: sums of `values` [rows, images] over the images of each block."""
        return sum_by(self.of_image, values, len(self.size))


def sum_by(group: np.ndarray, values: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums of the columns of `values` [rows, columns] by group [columns]: float64 [rows, n_groups]."""
    return np.stack([np.bincount(group, weights=row, minlength=n_groups) for row in values])
