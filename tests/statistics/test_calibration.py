"""The quick form of tests/benchmarks/calibration.py: a few designs, few worlds, the same targets."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from synthplanes.records import read_table
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast
from tests.benchmarks import calibration, simulated_worlds
from tests.benchmarks.calibration import (
    CALIBRATION,
    COLUMNS,
    EFFECTS,
    JUDGED,
    MARGIN,
    Design,
    grid,
    judged,
    misses,
    rows,
)
from tests.benchmarks.simulated_worlds import ACCURACY, ARMS, SYNTHETIC, draw

WORLDS, FEW = 400, (0.0, MARGIN)
QUICK = (Design("seed", "fetal_planes", 60, 6), Design("patient", "balanced", 60, 6),
         Design("pool", "fetal_planes", 60, 6, pool_share=.25))


def quick(design, effects=FEW):
    return list(rows(design, judged(design, 0, range(WORLDS), effects), effects))


def failures(table):
    return [(row["effect"], row["judged"], miss) for row in table for miss in misses(row)]


@pytest.mark.parametrize("design", QUICK, ids=lambda design: design.name)
def test_coverage_and_false_words_meet_the_targets(design):
    table = quick(design)
    assert not [miss for *_, miss in failures(table) if not miss.startswith("covers too much")]
    for row in table:
        assert sum(row[word] for word in COLUMNS.values()) == pytest.approx(1, abs=1e-3)
        if row["effect"] == 0:
            assert row["false_word_low"] <= .05, row


def patients_ignored(a, b, blocks, shared):
    images = np.arange(len(blocks.of_image))
    return contrast(a, b, Blocks.balanced(blocks.stratum[blocks.of_image], images), shared)


def units_ignored(a, b, blocks, shared):
    same = (np.repeat(table.mean(axis=1, keepdims=True), 6, axis=1) for table in (a, b))
    return contrast(*same, blocks, shared)


def pool_ignored(a, b, blocks, shared):
    return contrast(a, b, blocks)


@pytest.mark.parametrize("wrong, design", [
    (patients_ignored, QUICK[1]), (units_ignored, QUICK[0]), (pool_ignored, QUICK[2])],
    ids=lambda value: getattr(value, "__name__", getattr(value, "dominant", "")))
def test_a_wrong_interval_misses_the_same_targets(wrong, design, monkeypatch):
    monkeypatch.setattr(calibration, "contrast", wrong)
    missed = failures(quick(design, (0.0,)))
    assert any(miss.startswith("covers too little") for *_, miss in missed)
    assert any(miss.startswith("says gain") for *_, miss in missed)


def test_generators_of_one_pool_are_alike_and_others_are_not():
    """The correlation of two units' effects is the share of the pool that each drew."""
    def correlation(share):
        design = Design("pool", "fetal_planes", 20, 2, pool_share=share)
        effects = np.array([simulated_worlds._generator_effects(design, np.random.default_rng(root))
                            for root in range(4000)])
        assert effects.std() == pytest.approx(1, abs=.05)
        return np.corrcoef(effects.T)[0, 1]

    assert [correlation(share) for share in (0., .1, .25)] == pytest.approx([0., .1, .25], abs=.05)


def test_a_scarce_class_has_its_patients():
    world = draw(Design("seed", "fetal_planes", 60, 6, scarce=10), 0, 0)
    own = world.patients[world.labels == 0]
    counts = np.bincount(own)[np.unique(own)]
    assert len(counts) == 10 and counts.min() >= 40 and counts.max() <= 100


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
    assert (np.abs(share[:, 0] - ACCURACY) < 4 * error[:, 0]).all() and set(SYNTHETIC) < set(ARMS)


def test_worlds_do_not_depend_on_how_they_are_shared_out():
    design = QUICK[2]
    parts = [judged(design, 0, range(2)), judged(design, 0, range(2, 5))]
    assert np.array_equal(np.concatenate(parts), judged(design, 0, range(5)))


def test_the_grid_has_every_pair_of_levels_and_the_worlds_of_a_pool_and_of_a_scarce_class():
    designs = list(grid())
    assert len(designs) == len(set(designs)) == 35
    main = [design for design in designs if not design.scarce and design.dominant != "pool"]
    for one, other, n in (("dominant", "n_patients", 15), ("dominant", "n_units", 15), ("n_patients", "n_units", 9)):
        assert len({(getattr(design, one), getattr(design, other)) for design in main}) == n
    assert {(design.pool_share, design.n_units) for design in designs if design.dominant == "pool"} == {
        (share, units) for share in (0., .1, .25) for units in (5, 10)}
    assert {(design.dominant, design.n_patients) for design in designs if design.scarce} == {
        (dominant, patients) for dominant in ("seed", "patient") for patients in (60, 270)}


def test_the_committed_table_has_every_row_of_the_grid_and_meets_the_targets(repository):
    table = read_table(repository / "metrics" / "calibration.csv", CALIBRATION)
    expected = [(design.dominant, design.classes, design.n_patients, design.n_units, design.pool_share, design.scarce,
                 effect, kind) for design in grid() for effect in EFFECTS for kind in JUDGED]
    assert list(table[list(CALIBRATION.columns)[:8]].itertuples(index=False, name=None)) == expected
    assert (table["worlds"] >= np.where(table["effect"] == 0, 4000, 1000)).all()
    np.testing.assert_allclose(table[list(COLUMNS.values())].sum(axis=1), 1, atol=1e-3)
    overall = calibration.summary(table)
    assert (overall["covers_too_little"] == 0).all() and (overall["says_gain"] == 0).all()
    assert (overall["rows"] == len(expected) / len(JUDGED)).all()
    without = table[(table["effect"] == 0) & (table["judged"] == "apart")]
    errors, worlds = (without["gain"] * without["worlds"]).sum(), without["worlds"].sum()
    assert stats.binomtest(int(errors), int(worlds)).proportion_ci(.95, method="wilson").high <= .027


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
        n = len(JUDGED)
        assert own[:n] == list(rows(design, null, (0.0,))) and [row["worlds"] for row in own] == [6] * n + [3] * 2 * n
        assert own[n:] == list(rows(design, first))[n:]
        assert list(calibration.all_rows(design, without)) == list(rows(design, first))


def test_processes_share_the_worlds_and_change_nothing(repository, tmp_path):
    """The script as its stage runs it: its functions travel to other processes."""
    tables = []
    for processes in ("1", "2"):
        out = tmp_path / f"{processes}.csv"
        subprocess.run([sys.executable, "tests/benchmarks/calibration.py", "--worlds", "1", "--worlds-at-no-effect",
                        "1", "--processes", processes, "--out", str(out)], cwd=repository, check=True,
                       capture_output=True)
        tables.append(out.read_bytes())
    assert tables[0] == tables[1] and len(tables[0].splitlines()) == 1 + 35 * len(EFFECTS) * len(JUDGED)
