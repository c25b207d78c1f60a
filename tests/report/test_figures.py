"""Figures: the same numbers give the same bytes, other numbers give others, and nothing else is in the file."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthplanes import records
from synthplanes.report.figures import classifiers, generators, intervals
from synthplanes.report.figures.canvas import COMMITTED_BYTES

NAN = float("nan")
LEVELS = pd.DataFrame([("synthetic_then_real", 0.81, 0.78, 0.84), ("$joint$", 0.75, NAN, NAN)],
                      columns=["label", "estimate", "low", "high"])


def comparisons(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "estimate", "low", "high", "role", "word", "refused"])


PANELS = {("real", "synthetic"): comparisons(
    ("synthetic_then_real against real", 0.031, 0.004, 0.058, "confirmatory", "gain, size open", False),
    ("$joint$ against real", -0.02, NAN, NAN, "secondary", "undertrained", True),
    ("synthetic_then_real against real_short", 0.05, 0.04, 0.06, "naive", "worthwhile gain", False)),
    ("the second arm", "the first arm"): comparisons(
        ("oracle against real", 0.1, 0.05, 0.15, "control", "worthwhile gain", False),
        ("real_augmented against real", 0.0, -0.05, 0.05, "baseline", "inconclusive", False))}
SCORES = pd.DataFrame([("$real$", 1.0, 0.75, NAN, NAN), ("$real$", 0.1, 0.81, 0.78, 0.84),
                       ("oracle", 0.25, 0.81, 0.78, 0.84)], columns=["label", "share", "estimate", "low", "high"])
IMAGES = {"Fetal <brain>": np.full((3, 8, 8), 200, np.uint8), "Other": np.zeros((2, 8, 8), np.uint8)}
CURVES = records.GENERATOR_CURVE.frame(
    dict(budget=budget, replicate=replicate, images_seen=seen, train_loss=loss, held_out_loss=held_out,
         label_fidelity=loss / 2, copies=NAN)
    for budget in ("$scarce", "whole") for replicate in (0, 1) for seen, loss, held_out in (
        (0, 2.0, 2.0), (10, 1.0, 1.1), (100, 0.2, NAN)))
MATRICES = {"real": np.array([[0.9, 0.1], [0.0, 1.0]]), "$synthetic_then_real$": np.array([[0.5, 0.5], [0.25, 0.75]])}
BINS = {"real": {"count": np.array([0.0, 2, 8]), "confidence": np.array([np.nan, 0.5, 0.9]),
                 "accuracy": np.array([np.nan, 0.5, 0.75])}}
PAIRS = {"real": {"residual": np.array([[0.80, 0.81], [0.79, 0.82]])}, "real_two_stage": {"residual": np.empty((0, 2))}}

DRAWN = {
    "forest": lambda path: intervals.forest(path, PANELS, 0.02),
    "levels": lambda path: intervals.levels(path, {"residual": LEVELS, "$transformer$": LEVELS[:1]}, 1 / 6),
    "curves": lambda path: intervals.curves(path, SCORES, 1 / 6),
    "real_beside_synthetic": lambda path: generators.real_beside_synthetic(path, IMAGES, {"Other": IMAGES["Other"]}),
    "learning_curves": lambda path: generators.learning_curves(path, CURVES),
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
    intervals.forest(tmp_path / "a.png", PANELS, 0.02)
    intervals.forest(tmp_path / "b.png", PANELS, 0.04)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def shows(path, colour: str) -> bool:
    """Tell whether a picture has pixels of about this colour (its palette may hold a neighbour)."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = np.array([int(colour[at:at + 2], 16) for at in (1, 3, 5)])
    return bool((np.abs(pixels - wanted).max(axis=2) <= 12).sum() > 20)


def test_roles_and_refused_words_can_be_told_apart(tmp_path):
    """Each role has a colour and a marker of its own; a refused word is drawn otherwise than a word."""
    colours, markers, _ = zip(*intervals.ROLES.values(), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(intervals.ROLES) == 5
    for role, (colour, *_) in intervals.ROLES.items():
        path = tmp_path / f"{role}.png"
        intervals.forest(path, {("a", "b"): comparisons(("x", 0.01, 0.0, 0.02, role, "harm", False))}, 0.02)
        assert shows(path, colour), role
        assert [shows(path, other) for other in set(colours) - {colour, intervals.GREY}] == [False] * len(
            set(colours) - {colour, intervals.GREY}), role
        drawn = path.read_bytes()
        intervals.forest(path, {("a", "b"): comparisons(("x", 0.01, 0.0, 0.02, role, "harm", True))}, 0.02)
        assert path.read_bytes() != drawn


@pytest.mark.parametrize("size", [24, 64, 128])
def test_a_committed_picture_of_the_noisiest_images_stays_small(tmp_path, size):
    rng = np.random.default_rng(0)
    noise = {f"class {number}": rng.integers(0, 256, (generators.images_per_class(6), size, size), dtype=np.uint8)
             for number in range(6)}
    generators.real_beside_synthetic(tmp_path / "a.png", noise, noise)
    assert (tmp_path / "a.png").stat().st_size <= COMMITTED_BYTES


def test_many_classes_have_fewer_images_each():
    assert [generators.images_per_class(n) for n in (1, 4, 6, 8, 12, 100)] == [4, 4, 4, 3, 2, 1]


def test_the_titles_of_few_classes_are_whole(tmp_path):
    """A white line above the highest and below the lowest letter."""
    names = ("Fetal brain", "Fetal abdomen", "Maternal cervix")
    for n in (2, 3, 6):
        matrices = {"real": np.eye(n), "synthetic_then_real": np.eye(n)}
        classifiers.confusion(tmp_path / "a.png", matrices, 2 * names[:n] if n > 3 else names[:n])
        with Image.open(tmp_path / "a.png") as image:
            pixels = np.asarray(image.convert("L"))
        assert (pixels[[0, -1]] == 255).all() and (pixels[:, [0, -1]] == 255).all(), n


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
    intervals.forest(tmp_path / "a.png", PANELS, 0.02)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        intervals.forest(tmp_path / "b.png", PANELS, 0.02)
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_contrast_at_all_still_draws(tmp_path):
    intervals.forest(tmp_path / "a.png", {}, 0.02)
    intervals.levels(tmp_path / "b.png", {}, 0.25)
    intervals.curves(tmp_path / "e.png", SCORES[:0], 0.25)
    classifiers.seed_scatter(tmp_path / "d.png", {"real": {"residual": np.empty((0, 2))}}, "synthetic_then_real")
