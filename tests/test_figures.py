"""Figures: the same numbers give the same bytes, other numbers give others, and nothing else is in the file."""

import numpy as np
import pytest
from PIL import Image

from synthplanes import figures
from synthplanes.figures import Interval

CONTRASTS = [Interval("synthetic_then_real vs real", 0.031, 0.004, 0.058),
             Interval("$mixed$ vs real", -0.02, None, None)]
IMAGES = {"Fetal <brain>": np.full((3, 8, 8), 200, np.uint8), "Other": np.zeros((2, 8, 8), np.uint8)}
HISTORY = {"scarce, generator 0": {"images_seen": np.array([10, 100]), "train_loss": np.array([1.0, 0.2]),
                                   "held_out_loss": np.array([1.1, np.nan])}}

DRAWN = {
    "forest": lambda path: figures.forest(path, CONTRASTS, 0.02),
    "levels": lambda path: figures.levels(path, {"residual": CONTRASTS, "transformer": CONTRASTS[:1]}, 1 / 6),
    "side_by_side": lambda path: figures.side_by_side(path, IMAGES, {"Other": IMAGES["Other"]}),
    "learning_curves": lambda path: figures.learning_curves(path, HISTORY),
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
    figures.forest(tmp_path / "a.png", CONTRASTS, 0.02)
    figures.forest(tmp_path / "b.png", CONTRASTS, 0.04)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_users_style_changes_nothing(tmp_path):
    import matplotlib
    figures.forest(tmp_path / "a.png", CONTRASTS, 0.02)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        figures.forest(tmp_path / "b.png", CONTRASTS, 0.02)
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_contrast_at_all_still_draws(tmp_path):
    figures.forest(tmp_path / "a.png", [], 0.02)
    figures.levels(tmp_path / "b.png", {}, 0.25)
    figures.side_by_side(tmp_path / "c.png", {}, {})
