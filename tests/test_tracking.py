"""Tracking: what stands in the store is what dvc.lock and its files say, once, and nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from sklearn.metrics import balanced_accuracy_score
from tests.fake_checkout import ARCH, BUDGET, CLASSES, NAME, SIZE, folders, lock, make_checkout, tiny_profile

from synthplanes.reproduction import checkout
from synthplanes import records
from synthplanes.protocol.arms import expected_cells
from synthplanes.classification.networks import build
from synthplanes.data.images import to_float
from synthplanes.diffusion.denoiser import Configuration, Denoiser, write_denoiser
from synthplanes.errors import UserError
from synthplanes.report.writing import write_report
from synthplanes.protocol.config import Architecture
from synthplanes.tracking import candidates, projection, store, tracking
from synthplanes.reproduction import provenance
from synthplanes.reproduction.lineage import trace
from synthplanes.compute.weights import write_weights


def a_network():
    torch.manual_seed(0)
    return build(Architecture(model="test_resnet", learning_rate=0.003, options={}), len(CLASSES), SIZE).eval()


def a_denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(Configuration(image_size=SIZE, unshuffle=2, channels=(32, 32), layers_per_block=1, attention_at=(),
                                  dropout=0.0, classes=CLASSES, scanners=("a",), data_mean=0.0, data_deviation=0.5))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout without a store."""
    make_checkout(tmp_path)
    lock(tmp_path, checkout.md5)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """One store for all tests that only look: (root, what the first call said, what the second said)."""
    root = make_checkout(tmp_path_factory.mktemp("tracked"))
    at = folders(root)
    write_weights(at["baseline"] / BUDGET / ARCH / "r0" / "real-s1.safetensors", a_network().state_dict())
    denoiser = a_denoiser()
    write_denoiser(at["generator"] / BUDGET / "r0", denoiser.configuration, denoiser.state_dict())
    write_report(NAME, tiny_profile(), at, root / "metrics" / NAME, root / "artifacts" / "report" / NAME)
    lock(root, checkout.md5)
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = str(root)
    yield root, tracking.track(), tracking.track()
    os.environ.pop("DVC_ROOT") if before is None else os.environ.update(DVC_ROOT=before)


@pytest.fixture(scope="module")
def runs(tracked):
    return {run.info.run_name: run for run in store.Store(tracked[0]).known.values()}


def test_one_run_per_cell_and_per_classifier(tracked, runs):
    cells = checkout.read_checkout(tracked[0]).cells
    assert len(runs) == len(cells) + len(expected_cells(tiny_profile())) == tracked[1].runs["new"]
    kinds = [run.data.tags["kind"] for run in runs.values()]
    assert kinds.count("classifier") == len(expected_cells(tiny_profile()))
    assert all(run.info.status == "FINISHED" for run in runs.values())


def test_a_trace_names_the_runs_of_the_store(tracked, runs):
    found = trace(checkout.read_checkout(tracked[0]), NAME, f"real/{ARCH}/{BUDGET}/r0/s1/accuracy")
    assert found.mlflow_run == runs[f"real s1 r0 {ARCH} {BUDGET} {NAME}"].info.run_id
    assert {step.cell: step.mlflow_run for step in found.steps} == {step.cell: runs[step.cell].info.run_id
                                                                    for step in found.steps}


def test_the_interface_opens_on_runs(tracked):
    opened = store.Store(tracked[0])
    assert opened.client.get_experiment(opened.experiment).tags[store.KIND_TAG] == store.KIND
    page = f"http://127.0.0.1:5000/#/experiments/{opened.experiment}/runs?workflowType=machine_learning"
    assert store.runs_page(tracked[0], 5000) == page


def test_a_second_call_makes_nothing(tracked):
    first, second = tracked[1:]
    assert second.runs == {"new": 0, "updated": 0, "same": first.runs["new"]}
    assert (first.new_versions, second.new_versions) == (2, 0)
    client = store.Store(tracked[0]).client
    for name in (f"{NAME}-{ARCH}", f"{NAME}-{BUDGET}-generator"):
        assert len(client.search_model_versions(f"name='{name}'")) == 1


def test_metrics_are_those_of_the_table(tracked, runs):
    scores = records.read_table(tracked[0] / "metrics" / NAME / "scores.csv", records.SCORES)
    for row in scores.rows():
        run = runs[f"{row['arm']} s{row['seed']} r{row['replicate']} {ARCH} {BUDGET} {NAME}"]
        assert run.data.metrics[projection.metric_name(row["metric"])] == row["value"]
        assert {key: run.data.tags[key] for key in ("arm", "arch", "seed", "profile", "budget", "replicate")} == dict(
            arm=row["arm"], arch=ARCH, seed=str(row["seed"]), profile=NAME, budget=BUDGET, replicate="0")


def test_a_run_carries_curve_parameters_data_and_the_report(tracked, runs):
    client = store.Store(tracked[0]).client
    trained = runs[f"mixed s1 r0 {ARCH} {BUDGET} {NAME}"]
    curve = client.get_metric_history(trained.info.run_id, "train_loss_stage_1")
    assert sorted((point.step, point.value) for point in curve) == [(1, 1.0), (5, 0.2), (10, 0.1)]
    assert trained.data.params["recipe.batch_size"] == "8"
    inputs = {one.dataset.name: one.dataset.digest for one in trained.inputs.dataset_inputs}
    read = (f"artifacts/prepared/{NAME}", f"artifacts/synthetic/{NAME}/{BUDGET}")
    assert inputs == {path: checkout.md5(tracked[0] / path) for path in read}
    generator = runs[f"train_diffusion@{NAME}-{BUDGET}"]
    assert generator.data.metrics["held_out_loss_r0"] == 2 / 512
    assert generator.data.metrics["training_image_passes"] == 512
    report = runs[f"report@{NAME}"]
    shown = [file.path for file in client.list_artifacts(report.info.run_id, f"metrics/{NAME}")]
    assert f"metrics/{NAME}/report.md" in shown
    assert len(client.list_artifacts(report.info.run_id, f"artifacts/report/{NAME}")) == 7
    assert runs[f"evaluate@{NAME}"].data.tags["verdict"]


def test_a_run_names_its_generator_and_the_digests_of_its_outputs(tracked, runs):
    at = folders(tracked[0])
    generator = checkout.md5(at["generator"] / BUDGET)
    for arm, rests in (("real", False), ("oracle_then_real", False), ("synthetic_then_real", True), ("mixed", True)):
        tags = runs[f"{arm} s1 r0 {ARCH} {BUDGET} {NAME}"].data.tags
        assert tags.get("generator") == (generator if rests else None)
    assert "generator" not in runs[f"baseline@{NAME}-{BUDGET}-{ARCH}"].data.tags
    assert runs[f"finetune@{NAME}-{BUDGET}-{ARCH}"].data.tags["generator"] == generator
    opened = store.Store(tracked[0])
    digest = checkout.md5(at["joint"] / BUDGET / ARCH)
    found = opened.client.search_runs([opened.experiment], f"tags.dvc_outputs LIKE '%{digest}%'")
    assert {run.info.run_name.split()[0] for run in found} == {f"joint@{NAME}-{BUDGET}-{ARCH}", "mixed"}
    version = opened.client.get_model_version_by_alias(f"{NAME}-{BUDGET}-generator", "current")
    assert version.tags["generator"] == generator and generator in version.tags["dvc_outputs"] and version.description


def test_the_registered_classifier_is_the_best_on_validation_not_on_test(tracked):
    client = store.Store(tracked[0]).client
    best = client.get_model_version_by_alias(f"{NAME}-{ARCH}", "best")
    assert (best.tags["arm"], best.tags["seed"], best.tags["validation_balanced_accuracy"]) == ("real", "1", "1.000000")
    scores = records.read_table(tracked[0] / "metrics" / NAME / "scores.csv", records.SCORES)
    balanced = scores.select(scores["metric"] == "balanced_accuracy")
    assert balanced["arm"][balanced["value"].argmax()] != "real"
    weights = folders(tracked[0])["baseline"] / BUDGET / ARCH / "r0" / "real-s1.safetensors"
    assert best.tags["md5"] == checkout.md5(weights)


def test_no_model_is_pickled(tracked):
    names = {path.name for path in (tracked[0] / "artifacts" / "mlflow" / "files").rglob("*") if path.is_file()}
    assert {"real-s1.safetensors", "weights.safetensors", "served_classifier.py", "served_generator.py"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pth", ".pt", ".pickle"))]


def test_the_registered_models_work(tracked):
    """Loaded by MLflow under their aliases: the classifier is the network, the generator follows its seed."""
    import mlflow
    store_of = store.Store(tracked[0])
    mlflow.set_tracking_uri(store_of.address)
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    classifier = mlflow.pyfunc.load_model(f"models:/{NAME}-{ARCH}@best")
    with torch.no_grad():
        wanted = a_network()(torch.from_numpy(to_float(images)).unsqueeze(1)).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.predict(images), wanted, atol=1e-6)

    generator = mlflow.pyfunc.load_model(f"models:/{NAME}-{BUDGET}-generator@current")
    drawn = [generator.predict(np.array([0, 1, 1]), params={"seed": seed}) for seed in (1, 1, 2)]
    assert drawn[0].shape == (3, SIZE, SIZE) and drawn[0].dtype == np.uint8
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert generator.input_example.tolist() == [0]


def test_what_is_absent_or_changed_is_left_out_and_said(root):
    weights = folders(root)["joint"] / BUDGET / ARCH / "r0" / "mixed-s0.safetensors"
    weights.write_bytes(b"other")
    (root / "metrics" / NAME / "data.json").unlink()
    shown = projection.project(checkout.read_checkout(root))
    assert sorted(sentence.split(" (")[0] for sentence in shown.left_out) == [
        f"joint@{NAME}-{BUDGET}-{ARCH}: artifacts/joint/{NAME}/{BUDGET}/{ARCH} is not what dvc.lock says",
        f"prepare@{NAME}: metrics/{NAME}/data.json is absent"]
    mixed = next(run for run in shown.runs if run.tags.get("arm") == "mixed")
    assert mixed.metrics["balanced_accuracy"] > 0 and not mixed.curves


def test_a_changed_table_gives_no_runs(root):
    path = root / "metrics" / NAME / "scores.csv"
    path.write_text(path.read_text().replace("balanced", "unbalanced"))
    shown = projection.project(checkout.read_checkout(root))
    assert not [run for run in shown.runs if run.tags["kind"] == "classifier"]


def test_a_profile_outside_of_the_lock_is_not_shown(root):
    other = root / "metrics" / "other"
    other.mkdir()
    (other / "scores.csv").write_bytes((root / "metrics" / NAME / "scores.csv").read_bytes())
    assert {run.tags["profile"] for run in projection.project(checkout.read_checkout(root)).runs} == {NAME}


def test_a_key_follows_what_made_the_cell_and_content_what_is_shown(root):
    before = {run.name: run for run in projection.project(checkout.read_checkout(root)).runs}
    text = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(text.replace('"updates": 10', '"updates": 11'))
    after = {run.name: run for run in projection.project(checkout.read_checkout(root)).runs}
    changed = {name for name in before if before[name].key != after[name].key}
    assert changed == {f"audit@{NAME}-{BUDGET}", f"train_guide@{NAME}-{BUDGET}"}
    (folders(root)["generator"] / BUDGET / "r0" / "history.csv").unlink()
    poorer = {run.name: run for run in projection.project(checkout.read_checkout(root)).runs}
    name = f"train_diffusion@{NAME}-{BUDGET}"
    assert poorer[name].key == before[name].key and poorer[name].content != before[name].content


def git(root: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def write_lock(root: Path, content: dict) -> None:
    """As DVC writes it: YAML in blocks."""
    yaml = YAML()
    yaml.default_flow_style = False
    with (root / "dvc.lock").open("w") as file:
        yaml.dump(content, file)


def test_a_run_knows_the_first_commit_that_has_its_cells(root):
    content = json.loads((root / "dvc.lock").read_text())
    guide, scores, real = f"train_guide@{NAME}-{BUDGET}", f"evaluate@{NAME}", f"real s1 r0 {ARCH} {BUDGET} {NAME}"

    def project() -> dict[str, projection.Run]:
        return {run.name: run for run in projection.project(checkout.read_checkout(root)).runs}

    assert all(run.origin == {} for run in project().values())  # without git
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
    before = project()
    assert [before[name].origin["git_revision"] for name in (f"prepare@{NAME}", scores, real, guide)] == [
        commits[0], commits[1], commits[1], commits[2]]  # a classifier's run rests on its scores, too
    assert {run.origin["dirty"] for run in before.values()} == {"no"}
    content["stages"][guide]["cmd"] = "python stages/third.py"
    write_lock(root, content)
    after = project()
    assert "git_revision" not in after[guide].origin and after[guide].origin["dirty"] == "yes"
    assert after[real].origin == {**before[real].origin, "dirty": "yes"} and after[real].content == before[real].content


def test_a_clone_without_results_has_no_commits_to_name(tmp_path):
    git(tmp_path, "init", "-q")
    assert provenance.read_commits(tmp_path).tags() == {}


def test_validation_of_another_replicate_does_not_count(root):
    from synthplanes.statistics.predictions import read_predictions
    at = folders(root)
    classes = records.read_json(at["prepared"] / "classes.json")
    predictions = read_predictions([(ARCH, at["predictions"] / BUDGET / ARCH)], classes)
    splits = records.read_table(at["prepared"] / "splits.csv", records.SPLITS)
    held_out = splits.select(splits["role"] == "validation")
    with pytest.raises(UserError, match="replicate 0 has no validation image"):
        candidates.validation_score(predictions, 0, held_out.with_columns(replicate=[1] * len(held_out)))
    # In cross-validation a validation image is the test image of another fold, and counts here all the same.
    crossed = replace(predictions, images=predictions.images.with_columns(role=["test"] * len(predictions.images)))
    rows = np.isin(predictions.images["image_id"], held_out["image_id"])
    expected = balanced_accuracy_score(predictions.labels[rows], predictions.probabilities[0][rows].argmax(axis=1))
    assert candidates.validation_score(crossed, 0, held_out) == pytest.approx(expected)


def test_the_hash_of_a_folder_is_dvcs_own(tmp_path):
    folder = tmp_path / "data"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("a/b/1.txt", "a.txt", "a/é.txt", "z"):
        (folder / name).write_text(name)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for words in (["init", "--no-scm", "-q"], ["add", "-q", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=tmp_path, env=environment, check=True)
    assert f"md5: {checkout.md5(folder)}" in (tmp_path / "data.dvc").read_text()


@pytest.mark.parametrize("content", ["", "stages: [", "stages: {a@b: {cmd: 1, deps: [x]}}", "[]"])
def test_a_damaged_lock_file_is_refused(root, content):
    (root / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match="not a readable lock file"):
        checkout.read_checkout(root)


def test_no_checkout_no_lock_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="No dvc.yaml"):
        checkout.find_root()
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert checkout.find_root() == Path(tmp_path)
    with pytest.raises(UserError, match="run `dvc repro` first"):
        tracking.track()
    with pytest.raises(UserError, match="run `synthplanes track` first"):
        tracking.serve(5000)


def test_a_damaged_store_is_refused(root):
    folder = root / "artifacts" / "mlflow"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(UserError, match="delete this folder"):
        store.Store(root)


def test_long_curves_are_thinned_with_both_ends():
    curve = projection.thinned(np.arange(5000), np.linspace(1, 0, 5000))
    assert len(curve) == projection.CURVE_POINTS and curve[0] == (0, 1.0) and curve[-1] == (4999, 0.0)
    assert projection.thinned(np.arange(3), np.zeros(3)) == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_what_comes_or_goes_updates_the_same_runs(tracked):
    """From here on tests change the store that those above look at."""
    root, first, _ = tracked
    assert store.Store(root).mark_others(set()) == first.runs["new"]
    tags = {run.data.tags[store.IN_LOCK] for run in store.Store(root).known.values()}
    assert tags == {"no"}
    history = folders(root)["joint"] / BUDGET / ARCH / "r0" / "history.csv"
    content = history.read_bytes()
    history.unlink()
    poorer = tracking.track()
    assert poorer.runs == {"new": 0, "updated": 3, "same": first.runs["new"] - 3}  # its cell and two classifiers
    assert any("joint" in sentence for sentence in poorer.left_out)
    assert "left out" in poorer.summary(list_left_out=True)
    history.write_bytes(content)
    assert tracking.track().runs["updated"] == 3
    after = store.Store(root).known.values()
    assert len(after) == first.runs["new"] and {run.data.tags[store.IN_LOCK] for run in after} == {"yes"}


def test_a_run_learns_its_commit_later_and_keeps_what_it_knew(tracked):
    shown = projection.project(checkout.read_checkout(tracked[0])).runs
    run = next(run for run in shown if run.name == f"audit@{NAME}-{BUDGET}")
    for origin in ({"dirty": "yes"}, {"dirty": "no", "git_revision": "a"}, {"dirty": "no", "git_revision": "b"}):
        run.origin = origin
        assert store.Store(tracked[0]).upsert(run) == "same"
    tags = store.Store(tracked[0]).known[run.key].data.tags
    assert (tags["dirty"], tags["git_revision"]) == ("yes", "a")


def test_other_weights_are_a_second_version_and_the_alias_goes_back_with_the_checkout(tracked, monkeypatch):
    """As at two tags, one after the other, from a directory below the root."""
    root = tracked[0]
    weights = folders(root)["baseline"] / BUDGET / ARCH / "r0" / "real-s1.safetensors"
    first = weights.read_bytes()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(root / "metrics" / NAME)
    client = store.Store(root).client
    seen = []
    for content in (None, first):
        if content is None:
            write_weights(weights, {name: value + 1 for name, value in a_network().state_dict().items()})
        else:
            weights.write_bytes(content)
        lock(root, checkout.md5)
        done = tracking.track()
        seen.append((done.new_versions, client.get_model_version_by_alias(f"{NAME}-{ARCH}", "best").version))
    assert [(made, str(number)) for made, number in seen] == [(1, "2"), (0, "1")]
    assert len(client.search_model_versions(f"name='{NAME}-{ARCH}'")) == 2
