"""Compute the probabilities with which training draws images."""

import numpy as np
import pandas as pd

from synthplanes.data.selection import LabelledImages


def class_balanced(labels: np.ndarray, balance: float = 1.0) -> np.ndarray:
    """Return each image's sampling probability, float64 [N]: uniform over images at 0, over classes that occur at 1."""
    counts = np.bincount(labels)
    return balance * (1 / (counts[labels] * np.count_nonzero(counts))) + (1 - balance) / len(labels)


def patient_balanced(images: LabelledImages) -> np.ndarray:
    """Return each image's sampling probability, float64 [N]: uniform over classes, and within one over its patients."""
    if images.patient_ids is None:
        return class_balanced(images.labels)
    weight = 1 / pd.Series(images.labels).groupby([images.labels, images.patient_ids]).transform("size").to_numpy()
    return weight / (np.bincount(images.labels, weight)[images.labels] * len(np.unique(images.labels)))
