"""Slices: scores by hand and by scikit-learn, and words where a number would mislead."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from synthplanes.records import INDEX, PREDICTED, RUNS, SLICES
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast
from synthplanes.statistics.metadata_rules import TrainingSets
from synthplanes.statistics.pairing import pair
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.slices import PARTLY, SEEN, UNSEEN, slice_rows, slices
from tests.statistics.selecting import find, keep_runs, only, with_columns

CLASSES = ("abdomen", "brain")
ARMS = ("real", "real_two_stage", "synthetic_then_real")


def toy(right, labels, seeds=2, archs=("residual",), patients=None, **columns):
    """Return predictions of test images alone; `right` maps an arm to bool [seeds, images], on every architecture."""
    n = len(labels)
    images = PREDICTED.typed({
        "image_id": [f"i{i}" for i in range(n)], "patient_id": patients or [f"p{i}" for i in range(n)], "label": labels,
        "role": ["test"] * n, **{name: columns.get(name, [""] * n) for name in ("scanner", "operator", "sub_plane")}})
    truth = np.array([CLASSES.index(label) for label in labels])
    runs, probabilities = [], []
    for arm in ARMS:
        for arch in archs:
            for seed in range(seeds):
                runs.append(dict(arm=arm, arch=arch, budget="scarce", replicate=0, seed=seed))
                chosen = np.where(right[arm][seed], truth, 1 - truth)
                probabilities.append(np.where(np.arange(2) == chosen[:, None], .75, .25))
    return Predictions(RUNS.frame(runs), images, np.array(probabilities, dtype=np.float32), CLASSES)


def sliced(predictions):
    """Return all rows of slices.csv."""
    return list(slice_rows(predictions))


def training(scanners):
    """Return an index of training images of which only the scanner matters here."""
    return INDEX.frame([{name: f"d{i}" if name == "image_id" else scanner if name == "scanner" else ""
                                  for name in INDEX.columns} for i, scanner in enumerate(scanners)])


@pytest.fixture
def by_hand():
    """48 abdomens and 48 brains of as many patients; the first half of each comes from scanner A, the rest from B."""
    first = np.arange(48) < 24
    all_right, none_right = np.ones(48, bool), np.zeros(48, bool)
    # [seeds, 96]: abdomens, then brains
    right = {"real": [[*first, *all_right], [*all_right, *first]],               # recalls .5, 1 and then 1, .5
             "real_two_stage": [[*first, *first], [*first, *first]],
             "synthetic_then_real": [[*first, *none_right], [*first, *first]]}
    return toy(right, ["abdomen"] * 48 + ["brain"] * 48, scanner=[*np.where(first, "A", "B")] * 2,
               sub_plane=[""] * 48 + ["Trans-thalamic"] * 24 + ["Other"] * 24)


def test_levels_and_gains_by_hand(by_hand):
    found = sliced(by_hand)

    def estimate(kind, value, arm, reference=""):
        return only(found, slice=kind, value=value, arm=arm, reference=reference)["estimate"]

    assert estimate("class", "abdomen", "real") == pytest.approx(.75)
    assert estimate("class", "brain", "real") == pytest.approx(.75)
    assert estimate("class", "brain", "synthetic_then_real") == pytest.approx(.25)
    assert estimate("class", "brain", "synthetic_then_real", "real") == pytest.approx(-.5)
    assert estimate("class", "abdomen", "synthetic_then_real", "real_two_stage") == 0
    assert estimate("scanner", "A", "real") == 1
    assert estimate("scanner", "B", "real") == pytest.approx(.5)       # of two seeds each knows one class
    assert estimate("scanner", "A", "synthetic_then_real") == pytest.approx(.75)
    assert estimate("scanner", "B", "synthetic_then_real", "real") == pytest.approx(-.5)
    assert estimate("sub_plane", "brain: Trans-thalamic", "real") == 1
    assert estimate("sub_plane", "brain: Other", "real") == pytest.approx(.5)
    sizes = only(found, slice="scanner", value="A", arm="real", reference="")
    assert (sizes["n_images"], sizes["n_patients"], sizes["metric"]) == (48, 48, "balanced_accuracy")
    assert only(found, slice="class", value="brain", arm="real", reference="")["metric"] == "recall"


def test_what_never_varies_keeps_its_estimate_and_gets_no_interval(by_hand):
    found = sliced(by_hand)
    sure = only(found, slice="scanner", value="A", arm="real", reference="")
    assert sure["estimate"] == 1 and sure["low"] is None and sure["high"] is None
    assert "no patient and no repetition differs" in sure["why_no_number"]
    varied = only(found, slice="class", value="abdomen", arm="real", reference="")
    assert varied["low"] < .75 < varied["high"] and varied["why_no_number"] == ""


def test_there_is_no_word_and_no_p_value(by_hand):
    assert all(set(row) == set(SLICES.columns) for row in sliced(by_hand))
    assert not {"word", "p_value"} & set(SLICES.columns)


def test_levels_agree_with_scikit_learn(world):
    predictions = described(world(n_patients=240))
    found = sliced(predictions)
    test = predictions.rows("test")
    labels = predictions.labels[test]
    top = predictions.probabilities[:, test].argmax(axis=2)
    for arm in ("real", "synthetic_then_real"):
        rows = (predictions.runs["arm"] == arm).to_numpy()
        recalls = np.mean([recall_score(labels, each, average=None) for each in top[rows]], axis=0)
        for name, recall in zip(predictions.classes, recalls):
            row = only(found, slice="class", value=name, arm=arm, reference="")
            assert row["estimate"] == pytest.approx(recall)
        for kind in ("scanner", "operator"):
            for value in ("x", "y"):
                own = predictions.column(kind)[test] == value
                expected = np.mean([balanced_accuracy_score(labels[own], each[own]) for each in top[rows]])
                row = only(found, slice=kind, value=value, arm=arm, reference="")
                assert row["estimate"] == pytest.approx(expected) and row["n_images"] == own.sum()


def described(predictions, root=0):
    """Return the predictions with a scanner and an operator per patient, x or y, and brains in sub-plane u or v."""
    rng = np.random.default_rng(root)
    names, patient = np.unique(predictions.column("patient_id"), return_inverse=True)
    columns = {kind: np.array(["x", "y"])[rng.integers(0, 2, len(names))][patient] for kind in ("scanner", "operator")}
    plane = np.where(predictions.column("label") == "brain", np.array(["u", "v"])[rng.integers(0, 2, len(patient))], "")
    return with_columns(predictions, **columns, sub_plane=plane)


def test_a_slice_has_the_interval_of_its_images_alonly(world):
    predictions = described(world(n_patients=240))
    rows = np.flatnonzero(predictions.rows("test") & (predictions.column("scanner") == "x"))
    archs = ["convolutional", "residual"]
    pairing = pair(predictions, "synthetic_then_real", "real", archs, rows)
    expected = contrast(pairing.arm, pairing.reference,
                        Blocks.balanced(predictions.labels[rows], predictions.column("patient_id")[rows]))
    row = only(sliced(predictions), slice="scanner", value="x", reference="real",
               arm="synthetic_then_real")
    assert [row[name] for name in ("estimate", "low", "high", "n_patients")] == pytest.approx(
        [expected.estimate, expected.low, expected.high, expected.n_patients])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_slices_add_up_to_the_whole(root):
    rng = np.random.default_rng(root)
    n = 240
    right = {arm: rng.random((2, n)) < rng.uniform(.2, .9) for arm in ARMS}
    labels = np.array(["abdomen", "brain"])[(np.arange(n) >= n * .4).astype(int)]
    planes = np.where(labels == "brain", np.array(["u", "v"])[rng.integers(0, 2, n)], "")
    predictions = toy(right, labels.tolist(), sub_plane=planes.tolist(), scanner=["x"] * n)
    found = sliced(predictions)

    def all_of(arm, reference, **where):
        return find(found, arm=arm, reference=reference, **where)

    for arm, reference in [(arm, "") for arm in ARMS] + [("synthetic_then_real", name) for name in ARMS[:2]]:
        whole, = all_of(arm, reference, slice="scanner")
        classes = all_of(arm, reference, slice="class")
        assert np.mean([row["estimate"] for row in classes]) == pytest.approx(whole["estimate"])
        planes_ = all_of(arm, reference, slice="sub_plane")
        brain, = all_of(arm, reference, slice="class", value="brain")
        assert sum(row["n_images"] for row in planes_) == brain["n_images"]
        assert np.average([row["estimate"] for row in planes_], weights=[row["n_images"] for row in planes_]) \
            == pytest.approx(brain["estimate"])
    for row in find(found, arm="synthetic_then_real"):
        if row["reference"]:
            levels = [only(found, slice=row["slice"], value=row["value"], arm=arm, reference="")["estimate"]
                      for arm in (row["arm"], row["reference"])]
            assert row["estimate"] == pytest.approx(levels[0] - levels[1])


def test_a_scanner_without_all_classes_gets_words(world):
    predictions = described(world(n_patients=240))
    scanner = np.where(predictions.column("label") == "femur", "x", predictions.column("scanner"))
    found = sliced(with_columns(predictions, scanner=scanner))
    rows = find(found, slice="scanner", value="y")
    assert rows and all(row["estimate"] is row["low"] is row["high"] is None for row in rows)
    assert {row["why_no_number"] for row in rows} == {
        "no test image of femur, and balanced accuracy is over all classes"}
    assert all(row["estimate"] is not None for row in find(found, slice="scanner", value="x"))


def test_too_few_patients_are_said_in_the_words_of_the_verdict():
    rng = np.random.default_rng(0)
    labels = ["abdomen", "brain"] * 60
    right = {arm: rng.random((2, 120)) < .7 for arm in ARMS}
    # 19 abdomens on operator A, one per patient: 19 equal patients. Scanner s has 2 patients with a brain.
    operator = ["A" if i in range(0, 38, 2) else "B" for i in range(120)]
    scanner = ["s" if label == "abdomen" or i < 4 else "t" for i, label in enumerate(labels)]
    found = sliced(toy(right, labels, operator=operator, scanner=scanner, sub_plane=operator))
    few = find(found, slice="sub_plane", value="abdomen: A")
    assert few and {row["why_no_number"] for row in few} == {
        "the test patients carry as much information as 19.0 of equal weight, and an interval needs 20"}
    assert all(row["estimate"] is None and (row["n_images"], row["n_patients"]) == (19, 19) for row in few)
    assert all("of equal weight" in row["why_no_number"] for row in find(found, slice="scanner", value="s"))
    assert all(row["why_no_number"] == "" for row in find(found, slice="class"))


def test_patients_are_counted_and_not_images():
    """25 images per patient: many images are no many patients."""
    rng = np.random.default_rng(0)
    right = {arm: rng.random((2, 500)) < .7 for arm in ARMS}
    found = sliced(toy(right, ["abdomen", "brain"] * 250, patients=[f"p{i // 25}" for i in range(500)]))
    assert {(row["n_images"], row["n_patients"]) for row in found} == {(250, 20)}
    many = {arm: rng.random((2, 475)) < .7 for arm in ARMS}
    found = sliced(toy(many, (["abdomen", "brain"] * 238)[:475], patients=[f"p{i // 25}" for i in range(475)]))
    assert all(row["estimate"] is None for row in found)      # 19 patients


def test_a_scanner_is_seen_where_training_images_have_it(by_hand):
    def standing(*scanners_of_each):
        found = slices(by_hand, TrainingSets(dict(enumerate(map(training, scanners_of_each)))))
        pooled = {part.value: set(by_hand.column("scanner")[part.rows].tolist()) for part in found
                  if part.kind == "scanner_in_training"}
        return {part.value: part.in_training for part in found if part.kind == "scanner"}, pooled

    assert standing(["A", "C"]) == ({"A": SEEN, "B": UNSEEN}, {SEEN: {"A"}, UNSEEN: {"B"}})
    assert standing(["A", "B"]) == ({"A": SEEN, "B": SEEN}, {SEEN: {"A", "B"}})
    assert standing(["A", "B"], ["A"]) == ({"A": SEEN, "B": PARTLY}, {SEEN: {"A"}, PARTLY: {"B"}})
    # In cross-validation only the fold that tests an image counts: none of these saw the scanner of its own.
    at_b = by_hand.column("scanner")[by_hand.rows("test")] == "B"
    crossed = TrainingSets({0: training(["A"]), 1: training(["B"])}, fold=np.where(at_b, 0, 1))
    assert {part.value: part.in_training for part in slices(by_hand, crossed) if part.kind == "scanner"} == {
        "A": UNSEEN, "B": UNSEEN}
    crossed = TrainingSets(crossed.images, fold=np.where(np.arange(len(at_b)) % 2, 0, 1))
    assert {part.in_training for part in slices(by_hand, crossed) if part.kind == "scanner"} == {PARTLY}
    without = slices(by_hand)
    assert not [part for part in without if part.kind == "scanner_in_training" or part.in_training]


def test_what_a_source_does_not_know_makes_no_slice(world):
    assert {part.kind for part in slices(world(), TrainingSets({0: training([""])}))} == {"class"}


def test_an_arm_that_some_architectures_lack_is_shown_by_architecture(world):
    found = sliced(world(n_patients=240, controls=("oracle",)))
    assert {row["arch"] for row in find(found, arm="oracle")} == {"residual"}
    assert {row["arch"] for row in find(found, arm="real")} == {"mean"}


def test_a_single_seed_and_unpaired_arms_get_words(by_hand):
    single = keep_runs(by_hand, by_hand.runs["seed"] == 0)
    assert all(row["estimate"] is None and "single" in row["why_no_number"] for row in sliced(single))
    found = sliced(keep_runs(by_hand, ~((by_hand.runs["seed"] == 1) & (by_hand.runs["arm"] == "real"))))
    assert all("`real` lacks 1 of the 2 seeds" in row["why_no_number"] for row in find(found, reference="real"))
    assert any(row["estimate"] is not None for row in find(found, reference="real_two_stage"))


def test_nothing_depends_on_the_order_of_images(world):
    predictions = described(world(n_patients=240))
    order = np.random.default_rng(0).permutation(len(predictions.images))
    other = dataclasses.replace(predictions, images=predictions.images.iloc[order].reset_index(drop=True),
                                probabilities=predictions.probabilities[:, order])
    for row, again in zip(sliced(predictions), sliced(other), strict=True):
        assert all(row[name] == pytest.approx(again[name]) for name in row)


def test_slices_know_that_generators_share_patients(world):
    """The interval of a slice has the factor of the shared pool, as the whole has."""
    predictions = world(replicates=range(3), seeds=range(2))
    own = dict(slice="class", arm="synthetic_then_real", reference="real")
    alone, shared = (find(slice_rows(predictions, shared=share), **own) for share in (0., .5))
    assert len(alone) == 3
    assert all(wide["high"] - wide["low"] > row["high"] - row["low"] for row, wide in zip(alone, shared, strict=True))
