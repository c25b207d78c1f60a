"""Label fidelity and copies on sets whose answers are known; planted copies are found."""

import numpy as np

from synthplanes.audit.copies import copies, nearest, thumbnails
from synthplanes.audit.label_fidelity import label_fidelity
from synthplanes.audit.overview import overview


def test_label_fidelity_is_a_mean_over_classes():
    probabilities = np.eye(3)[[0, 0, 0, 1, 2]]
    found = label_fidelity(probabilities, np.array([0, 0, 0, 1, 1]), ("a", "b", "c"))
    assert found == {"mean_over_classes": 0.75, "per_class": {"a": 1.0, "b": 0.5, "c": None}, "images": 5}


def test_the_overview_is_a_mean_over_generators():
    def audit(first, second, near):
        return {"label_fidelity": {"mean_over_classes": first, "per_class": {"a": first, "b": second}},
                "ceiling_on_validation_images": {"mean_over_classes": 0.9},
                "copies": {"nearer_than_threshold": near, "images": 40}}
    assert overview([audit(0.5, None, 0), audit(0.75, 0.25, 4)]) == {
        "generators": 2, "label_fidelity": 0.625, "label_fidelity_per_class": {"a": 0.625, "b": 0.25},
        "ceiling_on_validation_images": 0.9, "nearer_than_threshold": 0.05}
    assert overview([]) == {}


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (n, 32, 32)).astype(np.uint8)


def test_brightness_and_contrast_do_not_hide_a_copy():
    train = images(20, 0)
    darker = (train[3:4] // 2 + 20).astype(np.uint8)
    distance, position = nearest(thumbnails(darker), thumbnails(train))
    assert position.tolist() == [3] and distance[0] < 0.05


def test_planted_copies_are_counted(tmp_path):
    train, synthetic = images(50, 0), images(40, 1)
    synthetic[:4] = train[7:11]
    found = copies(synthetic, train, images(60, 2), tmp_path / "copies.png", shown=5)
    assert found["nearer_than_threshold"] in (4, 5) and found["images"] == 40
    assert (tmp_path / "copies.png").exists()
    clean = copies(images(40, 3), train, images(60, 2), tmp_path / "clean.png", shown=5)
    assert clean["nearer_than_threshold"] <= 2
