"""Train and predict all classifiers of a tiny profile: files, pairing, and what is trained again after a change."""

import numpy as np
import pytest

from synthplanes.classification import runs
from synthplanes.classification.prediction import images_to_predict, predict_runs
from synthplanes.classification.runs import train_classifiers
from synthplanes.errors import UserError
from synthplanes.protocol.arms import TRAINING_STAGES
from synthplanes.protocol.cells import Paths
from synthplanes.records import (
    CLASSIFIER_HISTORY,
    PREDICTED,
    RUNS,
    SPLITS,
    read_array,
    read_json,
    read_table,
    write_table,
)
from tests.tiny_cells import PER_CLASS, cell, tiny_profile, write_prepared, write_synthetic

BOTH = ("scarce", "full")
BASELINES = ("real_short", "real", "real_two_stage", "real_long", "real_two_stage_long", "duplicate_joint",
             "duplicate_joint_long", "real_equal_exposure")


@pytest.fixture
def root(tmp_path):
    write_prepared(tmp_path, BOTH)
    write_synthetic(tmp_path, BOTH)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """The (budget, architecture, arm) of every classifier that was really trained since the list was cleared."""
    done = []
    real = runs.stages_of

    def stages_of(task):
        done.append((task.out.parts[-4], task.arch, task.arm.name))
        return real(task)

    monkeypatch.setattr(runs, "stages_of", stages_of)
    return done


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_stage_writes_every_run_and_says_what_it_did(root):
    own = cell(root, "baseline", tiny_profile(optional=("augmented", "distilled")))
    train_classifiers(own)
    names = [f"{arm}-s{seed}.safetensors" for arm in sorted((*BASELINES, "real_augmented", "real_distilled"))
             for seed in range(2)]
    assert sorted(files(own.out / "scarce" / "residual" / "r0")) == sorted(["history.csv", *names])
    assert read_json(own.out / "cell.json") == {
        "stage": "baseline", "profile": "tiny", "validation_looks": 1, "archs": {"residual": {
            "model": "test_resnet", "pretrained_on": [], "arms": {
                "duplicate_joint": 5, "duplicate_joint_long": 10, "real": 5, "real_augmented": 5, "real_distilled": 5,
                "real_equal_exposure": 2, "real_long": 10, "real_short": 2, "real_two_stage": 5,
                "real_two_stage_long": 10}}}}
    items = {item["item"]: item for item in read_json(own.out / "cost.json")["items"]}
    assert items["real_long"] == dict(item="real_long", budget="scarce", arch="residual", runs=2,
                                      training_image_passes=2 * 10 * 8, forward_image_passes=0)
    assert items["real_distilled"]["forward_image_passes"] == 2 * 5 * 8
    history = read_table(own.out / "scarce" / "residual" / "r0" / "history.csv", CLASSIFIER_HISTORY)
    assert history["arm"].iloc[-1] == "real_distilled"  # after the others, its teacher among them


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    outputs = []
    for processes in (1, 2):
        root = tmp_path / str(processes)
        write_prepared(root)
        write_synthetic(root)
        own = cell(root, "pretrain", processes=processes)
        train_classifiers(own)
        outputs.append(files(own.out))
    assert outputs[0] == outputs[1] and len(outputs[0]) == 4 * 2 + 3  # four arms; history, cell.json, cost.json


def test_a_stage_of_no_arms_is_an_empty_history(root):
    profile = tiny_profile()
    without = profile.model_copy(update=dict(recipe=profile.recipe.model_copy(update=dict(optional_arms={}))))
    own = cell(root, "joint", without)
    train_classifiers(own)
    assert sorted(files(own.out)) == ["cell.json", "cost.json", "scarce/residual/r0/history.csv"]


def test_an_added_architecture_or_budget_retrains_nothing_else(root, trained):
    train_classifiers(cell(root, "baseline"))
    before = files(cell(root, "baseline").out)
    assert len(trained) == len(BASELINES) * 2
    trained.clear()
    train_classifiers(cell(root, "baseline", tiny_profile(archs=("residual", "other"))))
    assert {arch for _, arch, _ in trained} == {"other"} and len(trained) == len(BASELINES) * 2
    trained.clear()
    train_classifiers(cell(root, "baseline", tiny_profile(BOTH, ("residual", "other"))))
    assert {budget for budget, *_ in trained} == {"full"} and len(trained) == 2 * len(BASELINES) * 2
    trained.clear()
    train_classifiers(cell(root, "baseline", tiny_profile(optional=("augmented",))))
    assert {arm for *_, arm in trained} == {"real_augmented"}
    after = files(cell(root, "baseline").out)
    assert all(after[name] == before[name] for name in before if name.endswith(".safetensors"))


def test_a_change_retrains_what_it_touches(root, trained):
    train_classifiers(cell(root, "pretrain"))
    kept = cell(root, "pretrain").checkpoints
    trained.clear()
    train_classifiers(cell(root, "pretrain"))
    assert not trained and len(list(kept.iterdir())) == 4 * 2
    write_synthetic(root, ("full", "scarce"))  # other images
    train_classifiers(cell(root, "pretrain"))
    assert {arm for *_, arm in trained} == {"synthetic", "resampled", "permuted_labels"}  # not the oracle
    trained.clear()
    train_classifiers(cell(root, "pretrain", tiny_profile(weight_decay=0.1)))
    assert len(trained) == 4 * 2
    trained.clear()
    train_classifiers(cell(root, "pretrain", tiny_profile(weight_decay=0.1), code="other"))
    assert len(trained) == 4 * 2
    assert len(list(kept.iterdir())) == 4 * 2  # what the last run did not use is deleted


def test_a_teacher_retrains_its_pupils(root, trained, monkeypatch):
    profile = tiny_profile(optional=("distilled",))
    train_classifiers(cell(root, "baseline", profile))
    trained.clear()
    real = runs.Task.identity
    monkeypatch.setattr(runs.Task, "identity", lambda task, sha256: [real(task, sha256), task.arm.name == "real"])
    train_classifiers(cell(root, "baseline", profile))
    again = {arm for *_, arm in trained}
    assert {"real", "real_distilled"} <= again
    trained.clear()
    monkeypatch.setattr(runs.Task, "identity", lambda task, sha256: [real(task, sha256), task.arm.name == "real" and 2])
    train_classifiers(cell(root, "baseline", profile))
    assert {arm for *_, arm in trained} == {"real", "real_distilled"}


def test_a_failed_stage_keeps_what_it_has_finished(root, trained, monkeypatch):
    real = runs.train_one

    def fails_at_the_third(task):
        if len(trained) == 3:
            raise UserError("the disk is full")
        return real(task)

    monkeypatch.setattr(runs, "train_one", fails_at_the_third)
    with pytest.raises(UserError, match="the disk is full"):
        train_classifiers(cell(root, "baseline"))
    monkeypatch.setattr(runs, "train_one", real)
    train_classifiers(cell(root, "baseline"))
    assert len(trained) == len(BASELINES) * 2


def test_prediction_of_every_run(root):
    for stage in TRAINING_STAGES:
        train_classifiers(cell(root, stage))
    own = cell(root, "predict")
    predict_runs(own)
    folder = own.out / "scarce" / "residual"
    predicted, described = read_array(folder / "probabilities.npy"), read_table(folder / "images.csv", PREDICTED)
    listed = read_table(folder / "runs.csv", RUNS)
    names = {(row.arm, row.arch, row.budget, row.replicate, row.seed) for row in listed.itertuples()}
    assert names == tiny_profile().runs()
    assert predicted.shape == (len(listed), 8 + PER_CLASS, 2) and predicted.dtype == np.float32
    assert np.allclose(predicted.sum(axis=2), 1, atol=1e-5) and not np.array_equal(predicted[0], predicted[-1])
    assert described["role"].tolist() == ["validation"] * 8 + ["test"] * PER_CLASS
    content = read_json(own.out / "cell.json")
    assert content["profile"] == "tiny" and content["platform"]["instructions"] == "avx2"
    assert len(content["analysis_plan"]) == 64
    item, = read_json(own.out / "cost.json")["items"]
    assert item["forward_image_passes"] == len(listed) * len(described) and item["budget"] == "scarce"


def test_the_plan_comes_first(root):
    Paths("tiny", root).analysis_plan.unlink()
    with pytest.raises(UserError, match="analysis_plan.json does not exist"):
        predict_runs(cell(root, "predict"))


def test_in_cross_validation_every_development_image_is_tested(root):
    prepared = Paths("tiny", root).prepared
    rows = [dict(budget="scarce", replicate=number % 2, image_id=f"development{number}", role="test")
            for number in range(2 * PER_CLASS)]
    write_table(prepared / "splits.csv", SPLITS.frame(rows), SPLITS)
    images, described = images_to_predict(prepared, "scarce")
    assert len(images) == len(described) == 3 * PER_CLASS and set(described["role"]) == {"test"}
