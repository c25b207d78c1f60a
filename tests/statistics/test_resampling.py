import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from synthplanes import seeds
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.resampling import (
    BATCH,
    MAX_UNITS,
    bootstrap_interval,
    family_wise_p,
    resampled_scores,
    sign_flip_p,
    sign_patterns,
)

ROOT = 3


def scipys(statistic, n, purpose, n_draws, *index):
    """scipy's bootstrap of things 0..n-1 with the same stream of draws, all at once as ours are batch by batch."""
    return stats.bootstrap((np.arange(n),), statistic, n_resamples=n_draws, batch=n_draws, method="percentile",
                           rng=seeds.generator(ROOT, purpose, *index), vectorized=True)


def test_one_image_per_patient_and_no_units_effect_is_scipys_bootstrap():
    d = np.random.default_rng(0).normal(.1, 1, 40)
    scores = resampled_scores(np.tile(d, (5, 1)), Blocks.uniform(d, np.arange(40)), ROOT)
    low, high, n = bootstrap_interval(scores, ROOT)
    reference = scipys(lambda chosen, axis: d[chosen].mean(axis=axis), 40, "bootstrap patients", len(scores))
    np.testing.assert_allclose(scores[:, 0], reference.bootstrap_distribution)
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval)) and n == 2000


def test_no_patients_effect_is_scipys_bootstrap_of_the_units():
    effects = np.random.default_rng(1).normal(.1, 1, 6)
    low, high, _ = bootstrap_interval(np.tile(effects, (2000, 1)), ROOT)
    reference = scipys(lambda chosen, axis: effects[chosen].mean(axis=axis), 6, "bootstrap units", 2000, 6)
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval))


def test_patients_bring_all_their_images_and_classes_weigh_alike():
    """Against scikit-learn's score of the images that each of scipy's draws would take."""
    rng, n_draws = np.random.default_rng(2), BATCH + 50                            # more than one batch
    patients = np.sort(np.concatenate([np.arange(30), rng.integers(0, 30, 60)]))
    labels = np.where(np.arange(90) < 6, np.arange(90) % 3, rng.integers(0, 3, 90))
    predicted = np.where(rng.random((2, 90)) < .7, labels, (labels + 1) % 3)
    names = np.array([f"p{number:02d}" for number in patients])
    found = resampled_scores(predicted == labels, Blocks.balanced(labels, names), ROOT, n_draws)
    chosen = seeds.generator(ROOT, "bootstrap patients").integers(0, 30, (n_draws, 30))
    for draw in (0, 1, BATCH - 1, BATCH, n_draws - 1):
        images = np.concatenate([np.flatnonzero(patients == patient) for patient in chosen[draw]])
        expected = [balanced_accuracy_score(labels[images], run[images]) for run in predicted]
        assert found[draw] == pytest.approx(expected)


def test_both_sides_are_drawn_and_weigh_as_a_product():
    rng = np.random.default_rng(3)
    d = rng.normal(size=(4, 25))
    scores = resampled_scores(d, Blocks.uniform(d[0], np.arange(25)), ROOT)
    patients = seeds.generator(ROOT, "bootstrap patients").integers(0, 25, (2000, 25))
    units = seeds.generator(ROOT, "bootstrap units", 4).integers(0, 4, (2000, 4))
    means = [d[np.ix_(rows, columns)].mean() for rows, columns in zip(units, patients)]
    assert bootstrap_interval(scores, ROOT)[:2] == pytest.approx(tuple(np.quantile(means, [.025, .975])))


def test_the_interaction_counts_up_to_three_times():
    """Owen 2007: with neither side dominant the variance of the draws is near 3 times the true one, less 1 / U."""
    rng, u, p = np.random.default_rng(4), 20, 60
    ratios = []
    for _ in range(30):
        d = rng.normal(size=(u, p))
        scores = resampled_scores(d, Blocks.uniform(d[0], np.arange(p)), ROOT, 400)
        weights = rng.multinomial(u, np.full(u, 1 / u), 400) / u
        ratios.append((weights * scores).sum(axis=1).var() * u * p)
    expected = (u - 1) / u + (p - 1) / p + (u - 1) / u * (p - 1) / p
    assert np.mean(ratios) == pytest.approx(expected, rel=.1)


def test_with_six_units_that_dominate_the_bootstrap_covers_too_little():
    """The docstring's 87 per cent: why this interval is shown and does not decide."""
    rng, n_worlds, covered = np.random.default_rng(5), 2000, 0
    weights = rng.multinomial(6, np.full(6, 1 / 6), 1000) / 6
    for effects in rng.normal(size=(n_worlds, 6)):
        low, high = np.quantile(weights @ effects, [.025, .975])
        covered += low <= 0 <= high
    assert covered / n_worlds == pytest.approx(.87, abs=.02)


def test_a_draw_without_a_class_is_left_out_and_counted():
    labels = np.array([0] * 8 + [1] * 2)
    correct = np.random.default_rng(6).random((3, 10)) < .5
    scores = resampled_scores(correct, Blocks.balanced(labels, np.arange(10)), ROOT)
    missing = np.isnan(scores).any(axis=1)
    assert missing.mean() == pytest.approx(.8 ** 10, abs=.03) and np.isnan(scores[missing]).all()
    assert bootstrap_interval(scores, ROOT)[2] == 2000 - missing.sum()
    accuracy = resampled_scores(correct, Blocks.uniform(labels, np.arange(10)), ROOT)
    assert not np.isnan(accuracy).any()


def test_a_class_with_one_patient_cannot_be_resampled():
    labels = np.array([0] * 8 + [1] * 2)
    scores = resampled_scores(np.ones((3, 10), bool), Blocks.balanced(labels, np.r_[np.arange(8), 8, 8]), ROOT)
    assert np.isnan(scores).all() and bootstrap_interval(scores, ROOT) == (None, None, 0)


def test_the_same_seed_gives_the_same_draws_and_another_others():
    d = np.random.default_rng(7).normal(size=(3, 20))
    one, again, other = (resampled_scores(d, Blocks.uniform(d[0], np.arange(20)), root, 10) for root in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 2)), min_size=2, max_size=9))
def test_sign_flips_are_scipys_exact_permutation_test(effects):
    # Rounded effects make ties, which scipy and we must count alike.
    reference = stats.permutation_test((np.array(effects),), lambda x, axis: np.abs(np.mean(x, axis=axis)),
                                       permutation_type="samples", alternative="greater", vectorized=True,
                                       n_resamples=np.inf)
    assert sign_flip_p(effects) == pytest.approx(reference.pvalue)


def test_sign_flips_by_hand():
    assert sign_flip_p([1, 2, 3]) == 2 / 8                      # only +++ and --- reach 6
    assert sign_flip_p([-1, 2, 3]) == 4 / 8                     # |4| is reached by four of eight
    assert sign_flip_p([0, 0]) == 1 and sign_flip_p([.2] * 6) == 2 / 64
    assert sign_flip_p([.1] * MAX_UNITS) == 2 / 2 ** MAX_UNITS and sign_flip_p([.1] * (MAX_UNITS + 1)) is None


def test_patterns_are_all_and_each_once():
    patterns = np.concatenate([sign_patterns(5), -sign_patterns(5)])
    assert len({tuple(row) for row in patterns}) == 32 and (sign_patterns(5)[0] == 1).all()


def test_the_family_keeps_the_signs_common():
    """Against the definition, pattern by pattern, with the t statistic itself."""
    effects = np.random.default_rng(8).normal(.5, 1, (6, 4))                       # [units, contrasts]
    patterns = np.concatenate([sign_patterns(6), -sign_patterns(6)])

    def t(signs):
        return np.abs(stats.ttest_1samp(signs[:, None] * effects, 0).statistic)
    largest = [t(signs).max() for signs in patterns]
    expected = [np.mean(np.array(largest) >= own - 1e-9) for own in t(np.ones(6))]
    family = [dict(enumerate(column)) for column in effects.T]
    assert family_wise_p(family) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(2, 7))
def test_an_adjusted_p_is_never_below_its_own(root, n_contrasts, n_units):
    effects = np.random.default_rng(root).normal(.3, 1, (n_contrasts, n_units))
    own = [sign_flip_p(row) for row in effects]
    adjusted = family_wise_p([dict(enumerate(row)) for row in effects])
    assert all(one <= both <= 1 for one, both in zip(own, adjusted))
    # twins cost nothing, and neither does a contrast without effect
    twins = family_wise_p([dict(enumerate(row)) for row in (*effects, *effects, np.zeros(n_units))])
    assert twins[:n_contrasts] == pytest.approx(adjusted) and twins[-1] == 1


def test_a_contrast_with_fewer_units_uses_the_signs_of_its_own():
    full, part = {0: 1., 1: 2., 2: 3.}, {0: 1., 1: 1.}
    # z of 3 units: 6/sqrt(14) = 1.60; of 2 units: sqrt(2) = 1.41. Patterns of (0, 1, 2) up to sign:
    # +++ 1.60 1.41 | -++ 1.07 0 | +-+ .53 0 | ++- 0 1.41
    assert family_wise_p([full, part]) == [1 / 4, 2 / 4]
    assert family_wise_p([]) == []


def test_sign_flips_hold_their_level_for_symmetric_effects():
    """Five dependent contrasts of 6 seeds: how often does the family reject anything at all?"""
    rng, n_worlds, rejected = np.random.default_rng(9), 1000, 0
    for _ in range(n_worlds):
        effects = rng.normal(size=(6, 1)) * rng.random(5) + rng.normal(size=(6, 5))
        rejected += min(family_wise_p([dict(enumerate(column)) for column in effects.T])) <= 2 / 64
    error = np.sqrt(2 / 64 / n_worlds)
    assert 2 / 64 - 4 * error < rejected / n_worlds < 2 / 64 + 4 * error           # exact: neither more nor less
