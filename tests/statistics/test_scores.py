"""Scores agree with their formulas and with scikit-learn, and an absent class is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn import metrics
from sklearn.calibration import calibration_curve

from synthplanes.errors import UserError
from synthplanes.statistics import scores


@st.composite
def predictions(draw):
    """Draw probabilities with many ties, and labels in which every class occurs."""
    k = draw(st.integers(2, 5))
    n = draw(st.integers(k, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    coarse = rng.integers(1, draw(st.sampled_from([3, 50])), (n, k)).astype(np.float64)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return (coarse / coarse.sum(axis=1, keepdims=True)).astype(np.float32), rng.permutation(labels)


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_scores_are_their_formulas(case):
    """The same numbers from the confusion matrix and, for AUROC, from mid-ranks (Mann-Whitney)."""
    p, labels = case
    n, k = p.shape
    confusion = np.bincount(labels * k + p.argmax(axis=1), minlength=k * k).reshape(k, k)
    counts, hits = confusion.sum(axis=1), np.diag(confusion)
    ranks = rankdata(p, axis=0)
    rank_sums = np.array([ranks[labels == c, c].sum() for c in range(k)])
    expected = {
        "accuracy": hits.sum() / n, "balanced_accuracy": (hits / counts).mean(),
        "macro_f1": (2 * hits / (confusion.sum(axis=0) + counts)).mean(),
        "macro_auroc": ((rank_sums - counts * (counts + 1) / 2) / (counts * (n - counts))).mean(),
        **{f"recall/{c}": hits[c] / counts[c] for c in range(k)}}
    values = scores.all_scores(p, labels, [str(c) for c in range(k)])
    assert {name: values[name] for name in expected} == pytest.approx(expected, rel=0, abs=1e-12)
    assert scores.balanced_accuracy_of(p.argmax(axis=1) == labels, labels) == pytest.approx(
        values["balanced_accuracy"], rel=0, abs=1e-12)


def test_balanced_accuracy_is_over_the_classes_at_hand():
    assert scores.balanced_accuracy_of(np.array([True, False, True]), np.array([1, 1, 3])) == .75


@settings(max_examples=30, deadline=None)
@given(predictions())
def test_all_scores_are_fractions_and_independent_of_row_order(case):
    p, labels = case
    names = [f"c{c}" for c in range(p.shape[1])]
    one = scores.all_scores(p, labels, names)
    order = np.random.default_rng(0).permutation(len(labels))
    assert one == pytest.approx(scores.all_scores(p[order], labels[order], names))
    assert all(0 <= value <= 1 for value in one.values())
    assert set(one) == {"accuracy", "balanced_accuracy", "calibration_error", "macro_auroc", "macro_f1",
                        *(f"recall/{name}" for name in names)}


def test_calibration_error_by_hand():
    p = np.array([[.9, .1], [.9, .1], [.6, .4], [.4, .6]])
    labels = np.array([0, 1, 0, 1])
    # bin of .9: confidences 1.8, one right; bin of .6: confidences 1.2, two right
    assert scores.calibration_error(p, labels) == pytest.approx((abs(1.8 - 1) + abs(1.2 - 2)) / 4)


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_reliability_agrees_with_scikit_learn_and_gives_the_calibration_error(case):
    p, labels = case
    bins = scores.reliability(p, labels)
    right = p.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, p.max(axis=1).astype(np.float64), n_bins=scores.CALIBRATION_BINS)
    filled = bins["count"] > 0
    np.testing.assert_allclose(bins["accuracy"][filled], accuracy)
    np.testing.assert_allclose(bins["confidence"][filled], confidence)
    assert np.isnan(bins["accuracy"][~filled]).all() and bins["count"].sum() == len(labels)
    gap = np.abs(bins["confidence"] - bins["accuracy"])[filled]
    assert np.average(gap, weights=bins["count"][filled]) == pytest.approx(scores.calibration_error(p, labels))


@settings(max_examples=30, deadline=None)
@given(predictions())
def test_the_mean_confusion_is_the_mean_of_scikit_learns(case):
    p, labels = case
    runs = np.stack([p, p[::-1], np.roll(p, 1, axis=1)])
    found = scores.mean_confusion(runs, labels, [str(c) for c in range(p.shape[1])])
    each = [metrics.confusion_matrix(labels, run.argmax(axis=1), labels=range(p.shape[1]), normalize="true")
            for run in runs]
    np.testing.assert_allclose(found, np.mean(each, axis=0))
    scores_of_runs = [metrics.balanced_accuracy_score(labels, run.argmax(axis=1)) for run in runs]
    assert np.diag(found).mean() == pytest.approx(np.mean(scores_of_runs))


def test_a_calibrated_classifier_has_little_error_and_a_boastful_one_much():
    rng = np.random.default_rng(1)
    truth = rng.uniform(.5, 1, 50_000)
    labels = (rng.uniform(size=truth.size) > truth).astype(int)
    honest = np.stack([truth, 1 - truth], axis=1)
    assert scores.calibration_error(honest, labels) < 0.01
    boastful = np.tile([.999, .001], (truth.size, 1))
    assert scores.calibration_error(boastful, labels) == pytest.approx(.249, abs=.01)


def test_edges_of_the_confidence_bins_belong_to_the_lower_bin():
    confidence = np.array([10 / 15, 10 / 15 + 1e-9])
    p = np.stack([confidence, 1 - confidence], axis=1)
    # in one bin the errors would cancel: one right, one wrong
    apart = scores.calibration_error(p, np.array([0, 1]))
    assert apart == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_an_absent_class_is_named():
    p = np.full((3, 3), 1 / 3)
    with pytest.raises(UserError, match="'femur' has no image among the 3 test images"):
        scores.all_scores(p, np.array([0, 1, 1]), ["abdomen", "brain", "femur"])
    with pytest.raises(UserError, match="'femur' has no image"):
        scores.mean_confusion(p[None], np.array([0, 1, 1]), ["abdomen", "brain", "femur"])


def test_a_single_class_has_no_roc_curve():
    with pytest.raises(UserError, match="two classes"):
        scores.all_scores(np.ones((3, 1)), np.zeros(3, int), ["femur"])
