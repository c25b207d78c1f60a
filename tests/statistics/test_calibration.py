"""The quick form of tests/benchmarks/calibration.py: a few designs, few worlds, the same targets."""

import numpy as np
import pytest

from synthplanes.records import read_table
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast
from tests.benchmarks import calibration
from tests.benchmarks.calibration import CALIBRATION, COLUMNS, EFFECTS, MARGIN, Design, grid, judged, misses, rows
from tests.benchmarks.simulated_worlds import ACCURACY, ARMS, draw

WORLDS, FEW = 400, (0.0, MARGIN)
QUICK = (Design("seed", "fetal_planes", 60, 6), Design("patient", "balanced", 60, 6),
         Design("generator", "fetal_planes", 60, 6))


def quick(design, effects=FEW):
    return list(rows(design, judged(design, 0, range(WORLDS), effects), effects))


def failures(table):
    """Return every miss but one: over two references `weaker` is meant to cover more than 95 %."""
    return [(row["effect"], row["references"], miss) for row in table for miss in misses(row)
            if row["references"] == "one" or not miss.startswith("covers too much")]


@pytest.mark.parametrize("design", QUICK, ids=lambda design: design.name)
def test_coverage_and_false_words_meet_the_targets(design):
    table = quick(design)
    assert not failures(table)
    for row in table:
        assert row["false_word_low"] <= .05, row
        assert row["helps"] + sum(row[word] for word in COLUMNS.values()) == pytest.approx(1, abs=1e-3)
        if row["effect"] == 0 and row["references"] == "equal":        # .025 a side and its Monte Carlo error
            assert row["helps"] < .045 and row["hurts"] < .045, row


def patients_ignored(a, b, blocks):
    images = np.arange(len(blocks.of_image))
    return contrast(a, b, Blocks.balanced(blocks.stratum[blocks.of_image], images))


def units_ignored(a, b, blocks):
    same = (np.repeat(table.mean(axis=1, keepdims=True), 6, axis=1) for table in (a, b))
    return contrast(*same, blocks)


@pytest.mark.parametrize("wrong, design", [(patients_ignored, QUICK[1]), (units_ignored, QUICK[0])])
def test_a_wrong_interval_misses_the_same_targets(wrong, design, monkeypatch):
    monkeypatch.setattr(calibration, "contrast", wrong)
    missed = failures(quick(design, (0.0,)))
    assert any(miss.startswith("covers too little") for _, _, miss in missed)
    assert any(miss.startswith("says helps") for _, _, miss in missed)


@pytest.mark.parametrize("dominant", ["generator", "patient"])
def test_the_effect_of_a_world_is_what_it_is_asked_to_be(dominant):
    """The closed form against the mean over many small worlds, for every arm and class."""
    effects, sums, counts = (0.0, -.04, .04), [], []
    for number in range(400):
        world = draw(Design(dominant, "balanced", 60, 6), 0, number)
        is_class = np.equal.outer(np.arange(len(ACCURACY)), world.labels).astype(float)      # [classes, images]
        sums.append([[is_class @ world.correct(arm, effect).mean(axis=0) for effect in effects] for arm in ARMS])
        counts.append(is_class.sum(axis=1))
    sums, counts = np.array(sums), np.array(counts)[:, None, None]        # [worlds, arms, effects, classes]
    share = sums.sum(axis=0) / counts.sum(axis=0)
    error = np.sqrt(np.square(sums - share * counts).sum(axis=0)) / counts.sum(axis=0)
    assert error.max() < .004
    assert (np.abs(share.mean(axis=2) - ACCURACY.mean() - effects) < .005).all()
    assert (np.abs(share[:, 0] - ACCURACY) < 4 * error[:, 0]).all()


def test_worlds_do_not_depend_on_how_they_are_shared_out():
    design = QUICK[2]
    parts = [judged(design, 0, range(2)), judged(design, 0, range(2, 5))]
    assert np.array_equal(np.concatenate(parts), judged(design, 0, range(5)))


def test_the_grid_has_every_level_and_every_pair_of_levels():
    designs = list(grid())
    assert len(designs) == len(set(designs)) == 45
    for one, other, n in (("dominant", "n_patients", 15), ("dominant", "n_units", 15), ("n_patients", "n_units", 9),
                          ("dominant", "classes", 10), ("classes", "n_units", 6)):
        assert len({(getattr(design, one), getattr(design, other)) for design in designs}) == n


def test_the_committed_table_has_every_row_of_the_grid(repository):
    table = read_table(repository / "metrics" / "calibration.csv", CALIBRATION)
    expected = [(design.dominant, design.classes, design.n_patients, design.n_units, effect, references)
                for design in grid() for effect in EFFECTS for references in calibration.REFERENCES]
    keys = ["dominant", "classes", "patients", "units", "effect", "references"]
    assert list(table[keys].itertuples(index=False, name=None)) == expected
    assert (table["worlds"] >= np.where(table["effect"] == 0, 4000, 2000)).all()
    np.testing.assert_allclose(table["helps"] + table[list(COLUMNS.values())].sum(axis=1), 1, atol=1e-3)
    power = table.pivot(index=[key for key in keys if key != "effect"], columns="effect", values="helps")
    assert len(power) == 45 * len(calibration.REFERENCES) and (power[.04] > power[0.]).all()
    overall = calibration.summary(table)
    assert (overall["covers_too_little"] == 0).all() and (overall["says_helps"] == 0).all()
    assert (overall["least_coverage"] > .93).all() and (overall["rows"] == 180).all()


def test_more_worlds_at_no_effect_leave_the_others_alone(monkeypatch):
    """Rows at no effect rest on all worlds, the others on the first, each as if asked for alone.

    So for every design of a queue, in portions that divide neither number.
    """
    monkeypatch.setattr(calibration, "PORTION", 2)
    more = list(calibration.all_worlds(QUICK[:2], 3, 6, processes=1, root_seed=0))
    fewer = list(calibration.all_worlds(QUICK[:2], 3, 0, processes=1, root_seed=0))
    assert [design for design, _ in more] == [design for design, _ in fewer] == list(QUICK[:2])
    for (design, worlds), (_, without) in zip(more, fewer, strict=True):
        first, null = judged(design, 0, range(3)), judged(design, 0, range(6), (0.0,))
        own = list(calibration.all_rows(design, worlds))
        assert own[:3] == list(rows(design, null, (0.0,))) and [row["worlds"] for row in own] == [6] * 3 + [3] * 9
        assert own[3:] == list(rows(design, first))[3:]
        assert list(calibration.all_rows(design, without)) == list(rows(design, first))
