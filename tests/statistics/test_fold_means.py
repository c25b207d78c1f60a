"""A fold as one observation: scikit-learn's scores fold by fold, and scipy's t test over them."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import PAPER
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.uncertainty import fold_rows
from tests.statistics.selecting import find, with_columns


@pytest.fixture
def verdict(world):
    predictions = world(n_patients=90)
    scanner = [f"s{int(name[1:]) % 5}" for name in predictions.images["patient_id"].tolist()]
    predictions = with_columns(predictions, scanner=scanner)
    settings = Settings("phantom", True, .02, "b25", (PAPER,), frozenset(predictions.identities), 0)
    return BudgetVerdict(predictions, settings, None)


def test_folds_are_scored_alone_and_tested_together(verdict):
    predictions, test = verdict.predictions, verdict.test
    fold = np.array([int(name[1:]) % 5 for name in predictions.column("patient_id")[test].tolist()])
    rows = list(fold_rows(verdict, fold))
    assert {row["contrast"] for row in rows} == {"naive", "fair", "fair_two_stage", "joint", "joint_two_stage"}
    top, labels = predictions.probabilities[:, test].argmax(axis=2), predictions.labels[test]
    (*fair, mean), expected = find(rows, contrast="fair"), []
    for number in range(5):
        own = fold == number
        score = {arm: np.mean([balanced_accuracy_score(labels[own], top[run, own])
                               for run, (its_arm, *_) in enumerate(predictions.identities) if its_arm == arm])
                 for arm in ("synthetic_then_real", "real")}
        expected.append(score["synthetic_then_real"] - score["real"])
        assert fair[number]["fold"] == str(number) and fair[number]["scanners"] == f"s{number}"
        assert fair[number]["n_images"] == own.sum() and fair[number]["low"] is None
    assert [row["estimate"] for row in fair] == pytest.approx(expected) and mean["fold"] == "mean"
    t = stats.ttest_1samp(expected, 0)
    assert (mean["estimate"], mean["p_value"]) == pytest.approx((np.mean(expected), t.pvalue))
    assert (mean["low"], mean["high"]) == pytest.approx(tuple(t.confidence_interval(.95)))


def test_a_fold_without_a_class_is_scored_over_the_others(verdict):
    fold = (verdict.predictions.column("label")[verdict.test] == "femur").astype(int)
    rows = find(fold_rows(verdict, fold), contrast="fair")
    assert [row["n_classes"] for row in rows] == [2, 1, 3] and np.isfinite([row["estimate"] for row in rows]).all()
