import dataclasses

import numpy as np
import pytest

from synthplanes.errors import UserError
from synthplanes.statistics.contrasts import (CONTRASTS, REFERENCES, archs_with, pair, pairs_of, unit_gains, unit_of,
                                              units)


def drop(predictions, **where):
    """The predictions without the runs whose columns have these values."""
    which = np.all([predictions.runs[name] == value for name, value in where.items()], axis=0)
    return dataclasses.replace(predictions, runs=predictions.runs.select(~which),
                               probabilities=predictions.probabilities[~which])


def test_the_table_is_in_order():
    assert len({row.name for row in CONTRASTS}) == len(CONTRASTS)
    assert [row.reference for row in CONTRASTS if row.role == "confirmatory"] == list(REFERENCES)
    assert {row.role for row in CONTRASTS} == {"naive", "confirmatory", "secondary", "rival", "control"}
    assert {row.name for row in CONTRASTS if not row.gated} == {"naive", "longer"}


def test_pairs_share_architecture_replicate_and_seed(world):
    predictions = world()
    images = np.flatnonzero(predictions.rows("test"))
    archs = ["convolutional", "residual"]
    pairing = pair(predictions, "synthetic_then_real", "real", archs, images)
    assert pairing.arm.shape == pairing.reference.shape == (2, 4, len(images))
    for a, arch in enumerate(archs):
        for seed in range(4):
            run = predictions.cells.index(("real", arch, "b25", 0, seed))
            np.testing.assert_array_equal(pairing.reference[a, seed], predictions.correct[run, images])
    assert (pairing.n_generators, pairing.n_seeds, pairing.why_unpaired) == (1, 4, "")


def test_several_replicates_are_the_units_and_seeds_are_averaged(world):
    predictions = world(replicates=(0, 1, 2), seeds=range(2))
    images = np.arange(10)
    pairing = pair(predictions, "mixed", "real", ["residual"], images)
    assert pairing.arm.shape == (1, 3, 10) and (pairing.n_generators, pairing.n_seeds) == (3, 2)
    runs = [predictions.cells.index(("mixed", "residual", "b25", 1, seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(pairing.arm[0, 1], predictions.correct[runs][:, images].mean(axis=0))


def test_order_of_runs_on_disk_says_nothing(world):
    predictions = world()
    order = np.random.default_rng(0).permutation(len(predictions.runs))
    shuffled = dataclasses.replace(predictions, runs=predictions.runs.select(order),
                                   probabilities=predictions.probabilities[order])
    pairs = [(0, seed) for seed in range(4)]
    np.testing.assert_array_equal(*(units(each, "real", ["residual"], pairs, np.arange(9))
                                    for each in (predictions, shuffled)))


def test_what_cannot_be_paired_says_why(world):
    predictions, images = world(), np.arange(10)
    archs = ["convolutional", "residual"]
    lacks = pair(drop(predictions, arm="real", seed=3), "mixed", "real", archs, images)
    assert lacks.why_unpaired == "`real` lacks 1 of the 4 seeds of `mixed`" and lacks.arm is None
    uneven = pair(drop(predictions, arm="mixed", arch="residual", seed=3), "mixed", "real", archs, images)
    assert "different seeds" in uneven.why_unpaired
    single = pair(world(seeds=(0,)), "mixed", "real", archs, images)
    assert "single seed" in single.why_unpaired
    generators = drop(world(replicates=(0, 1, 2)), arm="mixed", replicate=1, seed=3)
    lopsided = pair(generators, "mixed", "real", archs, images)
    assert lopsided.why_unpaired == "the generators ran `mixed` with different numbers of seeds"
    assert lopsided.arm is None and lopsided.pairs == ()


def test_an_arms_own_runs_are_all_or_refused(world):
    archs = ["convolutional", "residual"]
    assert pairs_of(world(), "mixed", archs) == [(0, seed) for seed in range(4)]
    with pytest.raises(UserError, match="budget b25 the architectures ran `mixed` with different seeds"):
        pairs_of(drop(world(), arm="mixed", arch="residual", seed=3), "mixed", archs)
    with pytest.raises(UserError, match="the generators ran `mixed` with different numbers"):
        pairs_of(drop(world(replicates=(0, 1)), arm="mixed", replicate=1, seed=3), "mixed", archs)


def test_gains_of_scores_are_gains_of_tables(world):
    predictions, archs = world(replicates=(0, 1), seeds=range(3)), ["convolutional", "residual"]
    images = np.flatnonzero(predictions.rows("test"))
    pairing = pair(predictions, "mixed", "real", archs, images)
    scores = predictions.correct[:, images].mean(axis=1)
    found = unit_gains(np.stack([scores, 2 * scores]), predictions, "mixed", "real", archs, pairing.pairs)
    expected = (pairing.arm - pairing.reference).mean(axis=(0, 2))
    np.testing.assert_allclose(found, [expected, 2 * expected])
    assert unit_of(pairing.pairs) == ([(0,), (1,)], pytest.approx([0, 0, 0, 1, 1, 1]))
    assert unit_of(((0, 1), (0, 5)))[0] == [(0, 1), (0, 5)]


def test_an_arm_with_fewer_seeds_than_its_reference_is_paired_on_its_own(world):
    predictions = drop(world(), arm="mixed", seed=3)
    pairing = pair(predictions, "mixed", "real", ["residual"], np.arange(10))
    assert pairing.arm.shape[1] == 3 and pairing.why_unpaired == ""


def test_archs_with(world):
    predictions = drop(world(arms=("real", "mixed", "null_then_real")), arm="mixed", arch="convolutional")
    assert archs_with(predictions, "real") == ["convolutional", "residual"]
    assert archs_with(predictions, "real", "mixed") == ["residual"]
    assert archs_with(predictions, "real", "oracle") == []
