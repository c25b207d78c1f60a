"""Measure label fidelity: how often an independent classifier recognises the class that an image was drawn for."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def label_fidelity(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return the share of images whose most likely class is their own, per class and as the mean over classes.

    `probabilities` float [N, K], `labels` int [N]. A class without images has None and does not count in the mean.
    """
    right = probabilities.argmax(axis=1) == labels
    per_class = {name: round(float(right[labels == number].mean()), 6) if (labels == number).any() else None
                 for number, name in enumerate(classes)}
    known = [value for value in per_class.values() if value is not None]
    return {"mean_over_classes": round(float(np.mean(known)), 6), "per_class": per_class, "images": len(labels)}
