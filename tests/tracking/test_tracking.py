"""Tracking: what stands in the store is what dvc.lock and its files say, once, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from dvc.repo import Repo
from ruamel.yaml import YAML
from sklearn.metrics import balanced_accuracy_score

from synthplanes import records
from synthplanes.compute.weights import write_weights
from synthplanes.data.images import to_float
from synthplanes.errors import UserError
from synthplanes.reproduction.checkout import commit_tagger, find_root, md5, read_checkout
from synthplanes.reproduction.lineage import trace
from synthplanes.statistics.predictions import read_predictions
from synthplanes.tracking import projection, registry, store
from tests.checkout import git
from tests.fake_checkout import ARCH, BUDGET, CLASSES, NAME, SIZE, lock, paths, tiny_profile
from tests.tracking.small_models import small_classifier


def run_name(arm: str, seed: int) -> str:
    return f"{arm} s{seed} r0 {ARCH} {BUDGET} {NAME}"


@pytest.fixture(scope="module")
def runs(tracked):
    assert not list((tracked[0] / "artifacts" / "mlflow").glob(".*part*"))  # a killed process had left one
    return {run.info.run_name: run for run in store.Store(tracked[0]).known.values()}


def test_one_run_per_stage_and_per_classifier(tracked, runs):
    stages, classifiers = read_checkout(tracked[0]).stages, tiny_profile().runs()
    assert len(runs) == len(stages) + len(classifiers) == tracked[1].runs["new"]
    kinds = [run.data.tags["kind"] for run in runs.values()]
    assert kinds.count("classifier") == len(classifiers)
    assert all(run.info.status == "FINISHED" for run in runs.values())


def test_a_trace_names_the_runs_of_the_store(tracked, runs):
    lineage = trace(read_checkout(tracked[0]), NAME, f"real/{ARCH}/{BUDGET}/r0/s1/accuracy",
                    store.Store(tracked[0]).find)
    assert lineage.mlflow_run == runs[run_name("real", 1)].info.run_id
    assert {step.stage: step.mlflow_run for step in lineage.steps} == {step.stage: runs[step.stage].info.run_id
                                                                      for step in lineage.steps}


def test_the_interface_opens_on_runs(tracked):
    opened = store.Store(tracked[0])
    assert opened.client.get_experiment(opened.experiment).tags.items() >= store.EXPERIMENT_TAGS.items()
    page = f"http://127.0.0.1:5000/#/experiments/{opened.experiment}/runs?workflowType=machine_learning"
    assert store.runs_page(opened, 5000) == page


def test_a_second_call_makes_nothing(tracked):
    first, second = tracked[1:]
    assert second.runs == {"new": 0, "updated": 0, "same": first.runs["new"]}
    assert (first.new_versions, second.new_versions) == (2, 0)
    client = store.Store(tracked[0]).client
    for name in (f"{NAME}-{ARCH}", f"{NAME}-{BUDGET}-generator"):
        assert len(client.search_model_versions(f"name='{name}'")) == 1


def test_metrics_are_those_of_the_table(tracked, runs):
    scores = records.read_table(paths(tracked[0]).metrics / "scores.csv", records.SCORES)
    for row in scores.itertuples():
        run = runs[run_name(row.arm, row.seed)]
        assert run.data.metrics[projection.metric_name(row.metric)] == row.value
        assert {key: run.data.tags[key] for key in ("arm", "arch", "seed", "profile", "budget", "replicate")} == dict(
            arm=row.arm, arch=ARCH, seed=str(row.seed), profile=NAME, budget=BUDGET, replicate="0")


def test_a_run_carries_curve_parameters_data_and_the_report(tracked, runs):
    client = store.Store(tracked[0]).client
    trained = runs[run_name("joint", 1)]
    curve = client.get_metric_history(trained.info.run_id, "train_loss_stage_1")
    assert sorted((point.step, point.value) for point in curve) == [(1, 1.0), (5, 0.2), (10, 0.1)]
    assert trained.data.params["recipe.batch_size"] == "8"
    inputs = {item.dataset.name: item.dataset.digest for item in trained.inputs.dataset_inputs}
    assert {f"artifacts/synthetic/{NAME}", f"artifacts/prepared/{NAME}/development"} <= inputs.keys()
    assert inputs == {path: md5(tracked[0] / path) for path in inputs} and "protocol" not in str(inputs)
    generator = runs[f"train_diffusion@{NAME}"]
    assert generator.data.metrics["training_image_passes"] == 512
    audit = runs[f"audit@{NAME}"]
    assert audit.data.metrics[f"label_fidelity_{BUDGET}_0"] == 0.5
    assert audit.data.metrics[f"held_out_loss_{BUDGET}_r0"] == 2 / 256
    fidelity = client.get_metric_history(audit.info.run_id, f"label_fidelity_{BUDGET}_r0")
    assert sorted((point.step, point.value) for point in fidelity) == [(128, 0.25), (512, 0.5)]
    evaluated = runs[f"evaluate@{NAME}"].data
    verdict = records.read_json(paths(tracked[0]).metrics / "verdict.json")
    assert "low" in evaluated.metrics and evaluated.tags["verdict"] == verdict["overall"]["verdict"]
    for name in ("paper_order", "joint"):
        assert evaluated.tags[f"verdict_{name}"] == verdict["hypotheses"][name]["verdict"]
    assert evaluated.metrics["hypotheses.joint.against.duplicate_joint.low"] == verdict[
        "hypotheses"]["joint"]["against"]["duplicate_joint"]["low"]
    report = runs[f"report@{NAME}"].info.run_id
    assert f"metrics/{NAME}/report.md" in [file.path for file in client.list_artifacts(report, f"metrics/{NAME}")]
    assert len(client.list_artifacts(report, f"artifacts/report/{NAME}")) == 1


def test_a_run_names_its_generator_and_the_digests_of_its_outputs(tracked, runs):
    at = paths(tracked[0])
    generator = md5(at.artifact("generator"))
    for arm, rests in (("real", False), ("oracle_then_real", False), ("synthetic_then_real", True), ("joint", True),
                       ("duplicate_joint", False), ("oracle_joint", False)):
        assert runs[run_name(arm, 1)].data.tags.get("generator") == (generator if rests else None)
    assert "generator" not in runs[f"baseline@{NAME}"].data.tags
    assert runs[f"finetune@{NAME}"].data.tags["generator"] == generator
    opened = store.Store(tracked[0])
    matches = opened.client.search_runs([opened.experiment], f"tags.dvc_outputs LIKE '%{md5(at.artifact('joint'))}%'")
    assert {run.info.run_name.split()[0] for run in matches} == {f"joint@{NAME}", "joint", "oracle_joint"}
    version = opened.client.get_model_version_by_alias(f"{NAME}-{BUDGET}-generator", "current")
    assert version.tags["generator"] == generator and generator in version.tags["dvc_outputs"] and version.description


def test_the_registered_classifier_is_the_best_on_validation_not_on_test(tracked):
    client = store.Store(tracked[0]).client
    best = client.get_model_version_by_alias(f"{NAME}-{ARCH}", "best")
    assert (best.tags["arm"], best.tags["seed"], best.tags["validation_balanced_accuracy"]) == ("real", "1", "1.000000")
    scores = records.read_table(paths(tracked[0]).metrics / "scores.csv", records.SCORES)
    balanced = scores[scores["metric"] == "balanced_accuracy"]
    assert balanced.loc[balanced["value"].idxmax(), "arm"] != "real"
    assert best.tags["md5"] == md5(paths(tracked[0]).weights("baseline", BUDGET, ARCH, 0, "real", 1))


def test_no_model_is_pickled(tracked):
    names = {path.name for path in (tracked[0] / "artifacts" / "mlflow" / "files").rglob("*") if path.is_file()}
    assert {"real-s1.safetensors", "weights.safetensors", "served_classifier.py", "served_generator.py"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pth", ".pt", ".pickle"))]


def test_the_registered_models_work(tracked):
    """Loaded by MLflow under their aliases: the classifier is the network, the generator follows its seed."""
    mlflow.set_tracking_uri(store.address(store.database(tracked[0])))
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    classifier = mlflow.pyfunc.load_model(f"models:/{NAME}-{ARCH}@best")
    with torch.no_grad():
        wanted = small_classifier()(torch.from_numpy(to_float(images)).unsqueeze(1)).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.predict(images), wanted, atol=1e-6)

    generator = mlflow.pyfunc.load_model(f"models:/{NAME}-{BUDGET}-generator@current")
    drawn = [generator.predict(np.array([0, 1, 1]), params={"seed": seed}) for seed in (1, 1, 2)]
    assert drawn[0].shape == (3, SIZE, SIZE) and drawn[0].dtype == np.uint8
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert generator.input_example.tolist() == [0]


def project(root: Path) -> dict[str, projection.Run]:
    return {run.name: run for run in projection.project(read_checkout(root))[0]}


def test_what_is_absent_or_changed_is_left_out_and_said(root):
    paths(root).weights("joint", BUDGET, ARCH, 0, "joint", 0).write_bytes(b"other")
    (paths(root).metrics / "data.json").unlink()
    shown, left_out = projection.project(read_checkout(root))
    assert sorted(sentence.split(" (")[0] for sentence in left_out) == [
        f"joint@{NAME}: artifacts/joint/{NAME} is not what dvc.lock records",
        f"prepare@{NAME}: metrics/{NAME}/data.json is absent"]
    joint = next(run for run in shown if run.tags.get("arm") == "joint")
    assert joint.metrics["balanced_accuracy"] > 0 and not joint.curves


def test_a_changed_table_gives_no_runs(root):
    path = paths(root).metrics / "scores.csv"
    path.write_text(path.read_text().replace("balanced", "unbalanced"))
    assert not [run for run in project(root).values() if run.tags["kind"] == "classifier"]


def test_a_profile_outside_of_the_lock_is_not_shown(root):
    other = root / "metrics" / "other"
    other.mkdir()
    (other / "scores.csv").write_bytes((paths(root).metrics / "scores.csv").read_bytes())
    assert {run.tags["profile"] for run in project(root).values()} == {NAME}


def test_a_key_follows_what_made_the_stage_and_content_what_is_shown(root):
    before = project(root)
    file = paths(root).protocol_file("audit")
    file.write_text(file.read_text().replace('"updates": 10', '"updates": 11'))
    lock(root, md5)
    after = project(root)
    assert {name for name in before if before[name].key != after[name].key} == {f"audit@{NAME}", f"protocol@{NAME}"}
    (paths(root).metrics / "generator_curve.csv").unlink()
    name = f"audit@{NAME}"
    poorer = project(root)[name]
    assert poorer.key == after[name].key and poorer.content != after[name].content


def write_lock(root: Path, content: dict) -> None:
    """Write dvc.lock as DVC does, in blocks."""
    yaml = YAML()
    yaml.default_flow_style = False
    with (root / "dvc.lock").open("w") as file:
        yaml.dump(content, file)


def test_a_run_knows_the_first_commit_that_has_its_stages(root):
    content = json.loads((root / "dvc.lock").read_text())
    guide, scores, real = f"train_guide@{NAME}", f"evaluate@{NAME}", run_name("real", 1)
    assert all(run.origin == {} for run in project(root).values())  # without git
    git(root, "init", "-q")
    (root / ".gitignore").write_text("/artifacts/\n")
    last = content["stages"].pop(scores)
    commits = []
    for change in ({}, {scores: last}, {guide: {**content["stages"][guide], "cmd": "python stages/other.py"}}):
        content["stages"] |= change
        write_lock(root, content)
        git(root, "add", ".")
        git(root, "commit", "-qm", "runs")
        commits.append(git(root, "rev-parse", "HEAD"))
    before = project(root)
    assert [before[name].origin["git_revision"] for name in (f"prepare@{NAME}", scores, real, guide)] == [
        commits[0], commits[1], commits[1], commits[2]]  # a classifier's run rests on its scores, too
    assert {run.origin["dirty"] for run in before.values()} == {"no"}
    content["stages"][guide]["cmd"] = "python stages/third.py"
    write_lock(root, content)
    after = project(root)
    assert "git_revision" not in after[guide].origin and after[guide].origin["dirty"] == "yes"
    assert after[real].origin == {**before[real].origin, "dirty": "yes"} and after[real].content == before[real].content


def test_a_clone_without_results_has_no_commits_to_name(tmp_path):
    git(tmp_path, "init", "-q")
    assert commit_tagger(tmp_path)() == {}


def test_validation_of_another_replicate_does_not_count(root):
    at = paths(root)
    predictions = read_predictions([(ARCH, at.classifiers("predictions", BUDGET, ARCH))], CLASSES)
    splits = records.read_table(at.prepared / "splits.csv", records.SPLITS)
    held_out = splits[splits["role"] == "validation"]
    with pytest.raises(UserError, match="replicate 0 has no validation image"):
        registry.validation_score(predictions, 0, held_out.assign(replicate=1))
    # In cross-validation a validation image is the test image of another fold, and counts here all the same.
    crossed = replace(predictions, images=predictions.images.assign(role="test"))
    rows = np.isin(predictions.column("image_id"), held_out["image_id"].tolist())
    expected = balanced_accuracy_score(predictions.labels[rows], predictions.probabilities[0][rows].argmax(axis=1))
    assert registry.validation_score(crossed, 0, held_out) == pytest.approx(expected)


def test_the_hash_of_a_folder_is_dvcs_own(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("a/b/1.txt", "a.txt", "a/é.txt", "z"):
        (folder / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repository:
        repository.add("data")
    assert f"md5: {md5(folder)}" in (tmp_path / "data.dvc").read_text()


@pytest.mark.parametrize("content", ["", "stages: [", "stages: {a@b: {cmd: 1, deps: [x]}}", "[]"])
def test_a_damaged_lock_file_is_refused(root, content):
    (root / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match="not a readable lock file"):
        read_checkout(root)


def test_no_checkout_no_lock_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="No dvc.yaml"):
        find_root()
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert find_root() == Path(tmp_path)
    with pytest.raises(UserError, match="run `dvc repro` first"):
        store.track()
    with pytest.raises(UserError, match="run `synthplanes track` first"):
        store.serve(5000)


def test_a_damaged_store_is_refused(root):
    folder = root / "artifacts" / "mlflow"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(UserError, match="delete this folder"):
        store.Store(root)


def test_long_curves_are_thinned_with_both_ends():
    curve = projection.thinned(pd.Series(np.linspace(1, 0, 5000)))
    assert len(curve) == projection.CURVE_POINTS and curve[0] == (0, 1.0) and curve[-1] == (4999, 0.0)
    assert projection.thinned(pd.Series(np.zeros(3))) == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_what_comes_or_goes_replaces_the_same_runs(tracked, monkeypatch):
    """From here on tests change the store that those above look at."""
    root, first, _ = tracked
    monkeypatch.setenv("DVC_ROOT", str(root))
    store.Store(root).mark_others(set())
    tags = [run.data.tags[store.IN_LOCK] for run in store.Store(root).known.values()]
    assert tags == ["no"] * first.runs["new"]
    history = paths(root).classifiers("joint", BUDGET, ARCH) / "r0" / "history.csv"
    content = history.read_bytes()
    history.unlink()
    poorer = store.track()
    assert poorer.runs == {"new": 0, "updated": 5, "same": first.runs["new"] - 5}  # its stage and four classifiers
    assert any("joint" in sentence for sentence in poorer.left_out)
    assert "left out" in poorer.summary(list_left_out=True)
    history.write_bytes(content)
    assert store.track().runs["updated"] == 5
    after = store.Store(root).known.values()
    assert len(after) == first.runs["new"] and {run.data.tags[store.IN_LOCK] for run in after} == {"yes"}


def test_a_run_that_was_cut_off_is_made_anew(tracked):
    opened = store.Store(tracked[0])
    run = project(tracked[0])[f"audit@{NAME}"]
    before = opened.known[run.key].info.run_id
    opened.client.delete_tag(before, store.CONTENT)
    assert store.Store(tracked[0]).put(run) == "updated"
    assert store.Store(tracked[0]).find(run.key) != before


def test_a_run_learns_its_commit_later_and_keeps_what_it_knew(tracked):
    run = project(tracked[0])[f"audit@{NAME}"]
    for origin in ({"dirty": "yes"}, {"dirty": "no", "git_revision": "a"}, {"dirty": "no", "git_revision": "b"}):
        run.origin = origin
        assert store.Store(tracked[0]).put(run) == "same"
    tags = store.Store(tracked[0]).known[run.key].data.tags
    assert (tags["dirty"], tags["git_revision"]) == ("yes", "a")


def test_other_weights_are_a_second_version_and_the_alias_goes_back_with_the_checkout(tracked, monkeypatch):
    """As at two tags, one after the other, from a directory below the root."""
    root = tracked[0]
    weights = paths(root).weights("baseline", BUDGET, ARCH, 0, "real", 1)
    first = weights.read_bytes()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(paths(root).metrics)
    client = store.Store(root).client
    versions = []
    for content in (None, first):
        if content is None:
            write_weights(weights, {name: value + 1 for name, value in small_classifier().state_dict().items()})
        else:
            weights.write_bytes(content)
        lock(root, md5)
        done = store.track()
        versions.append((done.new_versions, str(client.get_model_version_by_alias(f"{NAME}-{ARCH}", "best").version)))
    assert versions == [(1, "2"), (0, "1")]
    assert len(client.search_model_versions(f"name='{NAME}-{ARCH}'")) == 2
