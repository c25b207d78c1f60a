"""Figures: the same numbers give the same bytes, other numbers give others, and nothing else is in the file."""

import numpy as np
import pytest
from PIL import Image

from synthplanes.report.figures import classifiers, images, intervals, learning
from synthplanes.report.figures.intervals import Interval

CONTRASTS = [Interval("synthetic_then_real vs real", 0.031, 0.004, 0.058),
             Interval("$mixed$ vs real", -0.02, None, None)]
IMAGES = {"Fetal <brain>": np.full((3, 8, 8), 200, np.uint8), "Other": np.zeros((2, 8, 8), np.uint8)}
HISTORY = {"$scarce": 2 * [{"images_seen": np.array([10, 100]), "train_loss": np.array([1.0, 0.2]),
                            "held_out_loss": np.array([1.1, np.nan])}], "whole": []}
MATRICES = {"real": np.array([[0.9, 0.1], [0.0, 1.0]]), "$synthetic_then_real$": np.array([[0.5, 0.5], [0.25, 0.75]])}
BINS = {"real": {"count": np.array([0.0, 2, 8]), "confidence": np.array([np.nan, 0.5, 0.9]),
                 "accuracy": np.array([np.nan, 0.5, 0.75])}}
PAIRS = {"real": {"residual": np.array([[0.80, 0.81], [0.79, 0.82]])}, "real_two_stage": {"residual": np.empty((0, 2))}}

DRAWN = {
    "forest": lambda path: intervals.forest(path, CONTRASTS, 0.02),
    "levels": lambda path: intervals.levels(path, {"residual": CONTRASTS, "transformer": CONTRASTS[:1]}, 1 / 6),
    "curves": lambda path: intervals.curves(path, {"$real$": {0.1: CONTRASTS[0], 1.0: CONTRASTS[1]}, "oracle": {0.25: CONTRASTS[0]}},
                                            1 / 6),
    "side_by_side": lambda path: images.side_by_side(path, IMAGES, {"Other": IMAGES["Other"]}),
    "learning_curves": lambda path: learning.learning_curves(path, HISTORY),
    "confusion": lambda path: classifiers.confusion(path, MATRICES, ("Fetal $brain", "Other")),
    "reliability": lambda path: classifiers.reliability(path, BINS),
    "seed_scatter": lambda path: classifiers.seed_scatter(path, PAIRS, "synthetic_then_real"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_bytes(name, tmp_path):
    DRAWN[name](tmp_path / "one.png")
    DRAWN[name](tmp_path / "sub" / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "sub" / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert not {"Software", "Creation Time", "Date"} & set(image.info)
        assert image.width > 200


def test_another_margin_gives_another_picture(tmp_path):
    intervals.forest(tmp_path / "a.png", CONTRASTS, 0.02)
    intervals.forest(tmp_path / "b.png", CONTRASTS, 0.04)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_rare_bin_is_not_drawn_among_the_accuracies(tmp_path):
    """One image of 1000 in a bin: whether it was right changes nothing above; a bin with a share does."""
    def drawn(name, rare, frequent):
        classifiers.reliability(tmp_path / name, {"real": {
            "count": np.array([1.0, 499, 500]), "confidence": np.array([0.3, 0.6, 0.9]),
            "accuracy": np.array([rare, frequent, 0.9])}})
        return (tmp_path / name).read_bytes()
    assert drawn("a.png", 0.0, 0.5) == drawn("b.png", 1.0, 0.5) != drawn("c.png", 0.0, 0.7)


def test_a_users_style_changes_nothing(tmp_path):
    import matplotlib
    intervals.forest(tmp_path / "a.png", CONTRASTS, 0.02)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        intervals.forest(tmp_path / "b.png", CONTRASTS, 0.02)
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_contrast_at_all_still_draws(tmp_path):
    intervals.forest(tmp_path / "a.png", [], 0.02)
    intervals.levels(tmp_path / "b.png", {}, 0.25)
    intervals.curves(tmp_path / "e.png", {}, 0.25)
    classifiers.seed_scatter(tmp_path / "d.png", {"real": {"residual": np.empty((0, 2))}}, "synthetic_then_real")
    images.side_by_side(tmp_path / "c.png", {}, {})
