import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.naive_bayes import CategoricalNB

from synthplanes.records import INDEX, PREDICTED, RUNS
from synthplanes.statistics.metadata_rules import TrainingSets, class_of_each, majority_class, rule_rows
from synthplanes.statistics.predictions import Predictions

CLASSES = ("Other", "abdomen", "brain")


def index(rows, schema=INDEX):
    """Return a table of (label, scanner, operator), one patient per image."""
    return schema.frame([
        {**dict.fromkeys(schema.columns, ""), "image_id": f"i{i}", "patient_id": f"p{i}", "role": "test",
         "label": label, "scanner": scanner, "operator": operator}
        for i, (label, scanner, operator) in enumerate(rows)])


def predicted(rows):
    images = index(rows, PREDICTED)
    runs = RUNS.frame([dict(arm="real", arch="residual", budget="scarce", replicate=0, seed=0)])
    return Predictions(runs, images, np.full((1, len(images), 3), 1 / 3, np.float32), CLASSES)


def rules(training, rows, fold=None):
    training = training if isinstance(training, dict) else {0: index(training)}
    return {row["rule"]: row for row in rule_rows(predicted(rows), TrainingSets(training, fold))}


# 6 Other, 3 abdomen, 2 brain. Scanner S: 4 Other, 2 abdomen, 0 brain; T: 2 Other, 1 abdomen, 2 brain.
TRAINING = ([("Other", "S", "a")] * 4 + [("abdomen", "S", "a")] * 2 + [("Other", "T", "a")] * 2
            + [("abdomen", "T", "a")] + [("brain", "T", "a")] * 2)


def test_the_rule_by_hand():
    training = index(TRAINING)
    assert majority_class(training) == "Other"
    # S: Other 4/6, abdomen 2/3, brain 0: a tie, the first wins. T: Other 2/6, abdomen 1/3, brain 2/2.
    assert class_of_each(training, "scanner") == {"S": "Other", "T": "brain"}
    assert class_of_each(index(TRAINING + [("abdomen", "S", "a")]), "scanner")["S"] == "abdomen"   # 4/6 against 3/4
    assert class_of_each(index([("brain", "", "a")]), "scanner") == {}


def test_scores_by_hand():
    rows = ([("Other", "S", "a")] * 30 + [("Other", "T", "a")] * 10 + [("abdomen", "T", "b")] * 40
            + [("brain", "T", "b")] * 15 + [("brain", "U", "b")] * 15 + [("brain", "", "b")] * 10)
    records = rules(TRAINING, rows)
    # majority: Other always. scanner: S says Other, T says brain, U and unknown say Other.
    assert records["majority"]["estimate"] == pytest.approx(1 / 3) and records["majority"]["share_unseen"] == 0
    assert records["scanner"]["estimate"] == pytest.approx((30 / 40 + 0 + 15 / 40) / 3)
    assert records["scanner"]["share_unseen"] == pytest.approx(25 / 120)
    assert records["scanner"]["low"] < records["scanner"]["estimate"] < records["scanner"]["high"]
    # every class holds its whole in operator a: a tie, the first wins
    assert records["operator"]["estimate"] == pytest.approx(1 / 3)
    assert records["operator"]["share_unseen"] == pytest.approx(80 / 120)
    assert {record["n_images"] for record in records.values()} == {120}


def test_a_score_that_cannot_vary_has_no_interval():
    rows = [(name, "S", "a") for name in CLASSES for _ in range(30)]
    majority = rules(TRAINING, rows)["majority"]
    assert majority["estimate"] == pytest.approx(1 / 3) and majority["low"] is None and majority["why_no_number"]


def test_the_interval_is_that_of_patients_alone():
    """A rule has no seed: with one class per patient its interval is the textbook one of a stratified mean."""
    rows = ([("Other", "S", "a")] * 30 + [("Other", "T", "a")] * 10 + [("abdomen", "S", "b")] * 40
            + [("brain", "T", "b")] * 25 + [("brain", "U", "b")] * 15)
    record = rules(TRAINING, rows)["scanner"]
    # sum over classes of s^2 / n, s^2 with n - 1: 30 of 40, 0 of 40 and 25 of 40 are right; 120 equal patients
    variance = sum(p * (1 - p) / 39 for p in (30 / 40, 0, 25 / 40)) / 9
    half = stats.t.ppf(.975, 119) * np.sqrt(variance)
    assert record["high"] - record["estimate"] == pytest.approx(half)
    assert record["estimate"] - record["low"] == pytest.approx(half)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_agrees_with_scikit_learn(root):
    """The majority is DummyClassifier's, a scanner's class that of naive Bayes with equal priors and no smoothing."""
    rng = np.random.default_rng(root)

    def drawn(n):
        label = np.concatenate([np.arange(3), rng.integers(0, 3, n - 3)])
        odds = np.array([[.7, .2, .1], [.2, .5, .3], [.1, .3, .6]])
        scanner = np.array([rng.choice(3, p=odds[c]) for c in label])
        scanner[:3] = range(3)
        return label, scanner

    (label, scanner), (test_label, test_scanner) = drawn(40), drawn(90)
    rows = [[(CLASSES[c], f"s{s}", "") for c, s in zip(*both)]
            for both in ((label, scanner), (test_label, test_scanner))]
    training = index(rows[0])
    shares = np.array([[np.mean(scanner[label == c] == s) for c in range(3)] for s in range(3)])
    ranked = np.sort(shares, axis=1)
    records = rules(rows[0], rows[1])
    if len(set(np.bincount(label))) == 3:      # without ties
        dummy = DummyClassifier(strategy="most_frequent").fit(scanner[:, None], label).predict(test_scanner[:, None])
        assert majority_class(training) == CLASSES[dummy[0]]
        assert records["majority"]["estimate"] == pytest.approx(balanced_accuracy_score(test_label, dummy))
    if np.all(ranked[:, 2] - ranked[:, 1] > 1e-6):
        bayes = CategoricalNB(alpha=1e-12, force_alpha=True, fit_prior=False).fit(scanner[:, None], label)
        assert [class_of_each(training, "scanner")[f"s{s}"] for s in range(3)] == [
            CLASSES[c] for c in bayes.predict(np.arange(3)[:, None])]
        if records["scanner"]["estimate"] is not None:
            assert records["scanner"]["estimate"] == pytest.approx(
                balanced_accuracy_score(test_label, bayes.predict(test_scanner[:, None])))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from("STU"), st.just("")), min_size=1, max_size=25))
def test_no_other_rule_of_the_scanner_has_more_balanced_accuracy_on_training(rows):
    training = index(rows)
    scanners = sorted(set(training["scanner"].tolist()))
    labels = sorted(set(training["label"].tolist()))

    def score(rule):
        right = np.array([rule[s] for s in training["scanner"]]) == training["label"].to_numpy()
        return np.mean([right[training["label"] == label].mean() for label in labels])

    best = max(score(dict(zip(scanners, answers))) for answers in itertools.product(labels, repeat=len(scanners)))
    assert score(class_of_each(training, "scanner")) == pytest.approx(best)


def test_in_cross_validation_each_image_has_the_rule_of_its_fold():
    """In fold 0 scanner S means brain, in fold 1 abdomen; what fold 1 knows of T is no help to the images of fold 0."""
    training = {0: index([("brain", "S", "a"), ("Other", "U", "a"), ("Other", "U", "a")]),
                1: index([("abdomen", "S", "a"), ("Other", "T", "a"), ("brain", "T", "a"), ("brain", "T", "a")])}
    rows = [("brain", "S", "a")] * 40 + [("abdomen", "S", "a")] * 40 + [("Other", "T", "a")] * 40
    fold = np.repeat([0, 1, 0], 40)
    records = rules(training, rows, fold)
    assert [records["scanner"][name] for name in ("estimate", "share_unseen")] == pytest.approx([1, 1 / 3])
    records = rules(training, rows, 1 - fold)  # abdomen, brain, and T is Other or brain: all of Other's is there
    assert [records["scanner"][name] for name in ("estimate", "share_unseen")] == pytest.approx([1 / 3, 0])
    assert records["majority"]["share_unseen"] == 0


def test_an_unknown_scanner_everywhere_gets_words():
    record = rules([("Other", "", "a"), ("brain", "", "a"), ("abdomen", "", "b")],
                   [(name, "S", "a") for name in CLASSES for _ in range(30)])["scanner"]
    assert record["estimate"] is record["share_unseen"] is None
    assert record["why_no_number"] == "no training image has a known scanner"


def test_few_test_patients_get_the_words_of_the_verdict():
    record = rules(TRAINING, [(name, scanner, "a") for name in CLASSES for scanner in "ST"])["scanner"]
    assert record["estimate"] is None and "an interval needs 20" in record["why_no_number"]


def test_replicates_are_averaged():
    rows = [(name, scanner, "a") for name in CLASSES for scanner in "ST" for _ in range(20)]
    one, other = TRAINING, [("brain", "S", "a"), ("abdomen", "S", "a"), ("abdomen", "S", "a"), ("Other", "U", "a")]
    both = rules({0: index(one), 1: index(other)}, rows)["scanner"]
    alone = [rules(training, rows)["scanner"] for training in (one, other)]
    assert both["estimate"] == pytest.approx(np.mean([record["estimate"] for record in alone]))
    assert both["share_unseen"] == pytest.approx(np.mean([record["share_unseen"] for record in alone])) == .25
