"""Compute the probabilities with which training draws images."""

import numpy as np

from synthplanes.data.selection import LabelledImages


def class_balanced(labels: np.ndarray) -> np.ndarray:
    """Return each image's sampling probability, float64 [N]: every class that occurs is equally likely."""
    counts = np.bincount(labels)
    return 1 / (counts[labels] * np.count_nonzero(counts))


def partly_class_balanced(labels: np.ndarray, class_balance: float) -> np.ndarray:
    """Return each image's sampling probability, float64 [N]: uniform over images at 0, uniform over classes at 1."""
    return class_balance * class_balanced(labels) + (1 - class_balance) / len(labels)


def patient_balanced(images: LabelledImages) -> np.ndarray:
    """Return each image's sampling probability, float64 [N].

    Classes are equally likely, and within a class its patients.
    """
    if images.patient_ids is None:
        return class_balanced(images.labels)
    _, pair, counts = np.unique(np.stack([images.labels.astype(str), images.patient_ids.astype(str)]), axis=1,
                                return_inverse=True, return_counts=True)
    weight = 1 / counts[pair.ravel()]
    return weight / (np.bincount(images.labels, weight)[images.labels] * len(np.unique(images.labels)))
