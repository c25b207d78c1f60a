"""Runs are paired by replicate and seed, averaged within their unit, and never over what happens to be there."""

import numpy as np
import pytest

from synthplanes.errors import UserError
from synthplanes.statistics.pairing import archs_with, pair, pairs_of, unit_gains, unit_names, units
from tests.statistics.selecting import keep_runs


def drop(predictions, **where):
    """Return the predictions without the runs whose columns have these values."""
    return keep_runs(predictions, ~np.all([predictions.runs[name] == value for name, value in where.items()], axis=0))


def test_pairs_share_architecture_replicate_and_seed(world):
    predictions = world()
    images = np.flatnonzero(predictions.rows("test"))
    archs = ["convolutional", "residual"]
    pairing = pair(predictions, "synthetic_then_real", "real", archs, images)
    assert pairing.arm.shape == pairing.reference.shape == (2, 4, len(images))
    for a, arch in enumerate(archs):
        for seed in range(4):
            run = predictions.identities.index(("real", arch, "b25", 0, seed))
            np.testing.assert_array_equal(pairing.reference[a, seed], predictions.correct[run, images])
    assert (pairing.n_generators, pairing.n_seeds, pairing.why_unpaired) == (1, 4, "")


def test_several_replicates_are_the_units_and_seeds_are_averaged(world):
    predictions = world(replicates=(0, 1, 2), seeds=range(2))
    images = np.arange(10)
    pairing = pair(predictions, "joint", "real", ["residual"], images)
    assert pairing.arm.shape == (1, 3, 10) and (pairing.n_generators, pairing.n_seeds) == (3, 2)
    runs = [predictions.identities.index(("joint", "residual", "b25", 1, seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(pairing.arm[0, 1], predictions.correct[runs][:, images].mean(axis=0))


def test_order_of_runs_on_disk_says_nothing(world):
    predictions = world()
    order = np.random.default_rng(0).permutation(len(predictions.runs))
    shuffled = keep_runs(predictions, order)
    pairs = [(0, seed) for seed in range(4)]
    np.testing.assert_array_equal(*(units(each, "real", ["residual"], pairs, np.arange(9))
                                    for each in (predictions, shuffled)))


def test_what_cannot_be_paired_says_why(world):
    predictions, images = world(), np.arange(10)
    archs = ["convolutional", "residual"]
    lacks = pair(drop(predictions, arm="real", seed=3), "joint", "real", archs, images)
    assert lacks.why_unpaired == "`real` lacks 1 of the 4 seeds of `joint`" and lacks.arm.size == 0
    uneven = pair(drop(predictions, arm="joint", arch="residual", seed=3), "joint", "real", archs, images)
    assert "different seeds" in uneven.why_unpaired
    single = pair(world(seeds=(0,)), "joint", "real", archs, images)
    assert "single seed" in single.why_unpaired
    generators = drop(world(replicates=(0, 1, 2)), arm="joint", replicate=1, seed=3)
    lopsided = pair(generators, "joint", "real", archs, images)
    assert lopsided.why_unpaired == "the generators ran `joint` with different numbers of seeds"
    assert lopsided.arm.size == 0 and lopsided.pairs == ()


def test_an_arms_own_runs_are_all_or_refused(world):
    archs = ["convolutional", "residual"]
    assert pairs_of(world(), "joint", archs) == [(0, seed) for seed in range(4)]
    with pytest.raises(UserError, match="budget b25 the architectures ran `joint` with different seeds"):
        pairs_of(drop(world(), arm="joint", arch="residual", seed=3), "joint", archs)
    with pytest.raises(UserError, match="the generators ran `joint` with different numbers"):
        pairs_of(drop(world(replicates=(0, 1)), arm="joint", replicate=1, seed=3), "joint", archs)


def test_gains_of_scores_are_gains_of_tables(world):
    predictions, archs = world(replicates=(0, 1), seeds=range(3)), ["convolutional", "residual"]
    images = np.flatnonzero(predictions.rows("test"))
    pairing = pair(predictions, "joint", "real", archs, images)
    scores = predictions.correct[:, images].mean(axis=1)
    gains = unit_gains(np.stack([scores, 2 * scores]), predictions, "joint", "real", archs, pairing.pairs)
    expected = (pairing.arm - pairing.reference).mean(axis=(0, 2))
    np.testing.assert_allclose(gains, [expected, 2 * expected])
    assert unit_names(pairing.pairs) == [(0,), (1,)] and unit_names(((0, 1), (0, 5))) == [(0, 1), (0, 5)]


def test_an_arm_with_fewer_seeds_than_its_reference_is_paired_on_its_own(world):
    predictions = drop(world(), arm="joint", seed=3)
    pairing = pair(predictions, "joint", "real", ["residual"], np.arange(10))
    assert pairing.arm.shape[1] == 3 and pairing.why_unpaired == ""


def test_archs_with(world):
    predictions = drop(world(arms=("real", "joint", "resampled_then_real")), arm="joint", arch="convolutional")
    assert archs_with(predictions, "real") == ["convolutional", "residual"]
    assert archs_with(predictions, "real", "joint") == ["residual"]
    assert archs_with(predictions, "real", "oracle") == []
