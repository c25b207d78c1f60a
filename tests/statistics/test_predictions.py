"""Predictions are read whole, and every fault on file is one sentence."""

import numpy as np
import pytest

from synthplanes.errors import UserError
from synthplanes.records import PREDICTED, RUNS, read_table, write_array, write_json, write_table
from synthplanes.statistics.predictions import check_runs, read_predictions
from synthplanes.statistics.profile_evaluation import read_origin


@pytest.fixture
def folders(tmp_path, world):
    """Return two architecture folders as `predict` writes them, and what they hold."""
    predictions = world(n_patients=12)
    result = []
    for arch in ("residual", "convolutional"):
        rows = (predictions.runs["arch"] == arch).to_numpy()
        write_table(tmp_path / arch / "runs.csv", predictions.runs[rows], RUNS)
        write_table(tmp_path / arch / "images.csv", predictions.images, PREDICTED)
        write_array(tmp_path / arch / "probabilities.npy", predictions.probabilities[rows])
        result.append((arch, tmp_path / arch))
    return result, predictions


def edit(folder, change):
    """Apply `change` to the probabilities of a folder."""
    array = np.load(folder / "probabilities.npy")
    write_array(folder / "probabilities.npy", change(array))


def rewrite(path, old, new, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_reads_all_architectures_in_order(folders):
    paths, written = folders
    read = read_predictions(paths, written.classes)
    order = np.argsort(written.runs["arch"] == "convolutional", kind="stable")
    assert read.identities == [written.identities[i] for i in order]
    np.testing.assert_array_equal(read.probabilities, written.probabilities[order])
    assert read.budget == "b25"
    assert [read.classes[c] for c in read.labels] == written.images["label"].tolist()


def test_labels_follow_the_order_of_classes_whatever_it_is(folders):
    paths, written = folders
    classes = written.classes[::-1]
    assert [classes[c] for c in read_predictions(paths, classes).labels] == written.images["label"].tolist()


def test_correct_is_the_top_label(world):
    predictions = world(n_patients=6)
    by_hand = [[int(np.argmax(row)) == label for row, label in zip(run, predictions.labels)]
               for run in predictions.probabilities]
    np.testing.assert_array_equal(predictions.correct, by_hand)


def shorten(path):
    write_table(path, read_table(path, PREDICTED).iloc[:20], PREDICTED)


FAULTS = {
    "other images": (lambda f: rewrite(f / "images.csv", "p003", "p999"), "lists other images"),
    "unknown label": (lambda f: [rewrite(g / "images.csv", "femur", "foot")
                                 for g in (f, f.parent / "residual")], "unknown label 'foot'"),
    "unknown role": (lambda f: [rewrite(g / "images.csv", "validation", "train")
                                for g in (f, f.parent / "residual")], "unknown role 'train'"),
    "image twice": (lambda f: [rewrite(g / "images.csv", "i0001", "i0000")
                               for g in (f, f.parent / "residual")], "'i0000' more than once"),
    "NaN": (lambda f: edit(f, lambda a: np.where(np.arange(a.size).reshape(a.shape) == 7, np.nan, a)),
            "1 row.* no probabilities"),
    "infinite": (lambda f: edit(f, lambda a: np.where(np.arange(a.size).reshape(a.shape) == 7, np.inf, a)),
                 "no probabilities"),
    "negative": (lambda f: edit(f, lambda a: a + np.array([-1, 1, 0], np.float32)), "no probabilities"),
    "sum": (lambda f: edit(f, lambda a: a * 1.01), "no probabilities"),
    "fewer runs": (lambda f: edit(f, lambda a: a[1:]), "shape"),
    "fewer classes": (lambda f: edit(f, lambda a: a[..., :2]), "shape"),
    "no floats": (lambda f: edit(f, lambda a: a.astype(str)), "holds <U.* in the place of floats"),
    "other images in number": (lambda f: shorten(f / "images.csv"), "lists other images"),
    "wrong architecture": (lambda f: rewrite(f / "runs.csv", "convolutional", "transformer", 1),
                           "in the place of"),
    "two budgets": (lambda f: rewrite(f / "runs.csv", "b25", "b50", 1), "mix the budgets"),
    "twin runs": (lambda f: rewrite(f / "runs.csv", "convolutional,b25,0,1", "convolutional,b25,0,0"),
                  "twice"),
    "no runs.csv": (lambda f: (f / "runs.csv").unlink(), "does not exist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_one_sentence(folders, fault):
    paths, written = folders
    plant, message = FAULTS[fault]
    plant(paths[1][1])
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(paths, written.classes)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_float32_rounding_of_sums_is_accepted(folders):
    paths, written = folders
    edit(paths[0][1], lambda a: a * np.float32(1.0005))
    read_predictions(paths, written.classes)


def test_no_folder_is_refused():
    with pytest.raises(UserError, match="No prediction folder"):
        read_predictions([], ("a", "b"))


def test_missing_and_surplus_runs_are_named():
    runs = {("real", "residual", "b25", 0, seed) for seed in range(3)}
    check_runs(runs, runs)
    with pytest.raises(UserError, match="lack 1 run.*seed 2"):
        check_runs({run for run in runs if run[4] != 2}, runs)
    with pytest.raises(UserError, match="hold 1 run.*which the protocol does not know.*seed 1"):
        check_runs(runs, {run for run in runs if run[4] != 1})


PLATFORM = {"instructions": "avx2", "threads": 2, "torch": "2.0.0", "capability": "AVX2"}


def test_plan_and_platform_are_read(tmp_path):
    write_json(tmp_path / "cell.json", {"profile": "tiny", "analysis_plan": "abc", "platform": PLATFORM})
    assert read_origin(tmp_path / "cell.json") == ("abc", PLATFORM)


@pytest.mark.parametrize("content", [{}, [], {"analysis_plan": "abc"}, {"analysis_plan": 1, "platform": PLATFORM},
                                     {"analysis_plan": "abc", "platform": {**PLATFORM, "threads": "2"}},
                                     {"analysis_plan": "abc", "platform": {**PLATFORM, "numpy": "2"}},
                                     {"analysis_plan": "abc", "platform": None}])
def test_an_ill_formed_origin_is_refused(tmp_path, content):
    write_json(tmp_path / "cell.json", content)
    with pytest.raises(UserError, match="cell.json names no analysis plan or no platform"):
        read_origin(tmp_path / "cell.json")
