"""A fold as one observation: scikit-learn's scores fold by fold, and scipy's t test over them."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.fold_means import fold_records
from synthplanes.protocol.settings import Settings


@pytest.fixture
def judged(world):
    predictions = world(n_patients=90)
    images = predictions.images
    scanner = [f"s{int(name[1:]) % 5}" for name in images["patient_id"].tolist()]
    predictions = dataclasses.replace(predictions, images=images.with_columns(scanner=scanner))
    settings = Settings("phantom", True, .02, "b25", frozenset(predictions.cells), 0)
    return BudgetVerdict(predictions, settings, None)


def test_folds_are_scored_alone_and_tested_together(judged):
    predictions, test = judged.predictions, judged.test
    fold = np.array([int(name[1:]) % 5 for name in predictions.images["patient_id"][test].tolist()])
    found = {row["contrast"]: row for row in fold_records(judged, fold)}
    assert set(found) == {"naive", "fair", "fair_two_stage"}
    top, labels = predictions.probabilities[:, test].argmax(axis=2), predictions.labels[test]
    fair, expected = found["fair"], []
    for number in range(5):
        own = fold == number
        score = {arm: np.mean([balanced_accuracy_score(labels[own], top[run, own]) for run, cell in
                               enumerate(predictions.cells) if cell[0] == arm]) for arm in ("synthetic_then_real", "real")}
        expected.append(score["synthetic_then_real"] - score["real"])
        assert fair["folds"][number]["scanners"] == [f"s{number}"] and fair["folds"][number]["images"] == own.sum()
    assert [one["estimate"] for one in fair["folds"]] == pytest.approx(expected)
    t = stats.ttest_1samp(expected, 0)
    assert (fair["estimate"], fair["p_value"]) == pytest.approx((np.mean(expected), t.pvalue))
    assert (fair["low"], fair["high"]) == pytest.approx(tuple(t.confidence_interval(.95)))


def test_a_fold_without_a_class_is_scored_over_the_others(judged):
    labels = judged.predictions.images["label"][judged.test]
    fold = (labels == "femur").astype(int)
    first, second = next(fold_records(judged, fold))["folds"]
    assert (first["classes"], second["classes"]) == (2, 1) and np.isfinite([first["estimate"], second["estimate"]]).all()
