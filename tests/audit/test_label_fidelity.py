"""Label fidelity on predictions whose answer is known."""

import numpy as np

from synthplanes.audit.label_fidelity import label_fidelity


def test_label_fidelity_is_a_mean_over_classes():
    probabilities = np.eye(3)[[0, 0, 0, 1, 2]]
    fidelity = label_fidelity(probabilities, np.array([0, 0, 0, 1, 1]), ("a", "b", "c"))
    assert fidelity == {"mean_over_classes": 0.75, "per_class": {"a": 1.0, "b": 0.5, "c": None}, "images": 5}
