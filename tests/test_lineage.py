"""`trace`: every number of the results is led back to the first input, over the cells that it rests on and no others."""

import json
import subprocess
import sys

import pytest
from tests.fake_checkout import ARCH, BUDGET, NAME, lock, make_checkout

from synthplanes.reproduction.checkout import md5, read_checkout
from synthplanes.cli import main
from synthplanes.errors import UserError
from synthplanes.reproduction.lineage import numbers, trace

REAL = f"real/{ARCH}/{BUDGET}/r0/s1/balanced_accuracy"
FINE_TUNED = f"synthetic_then_real/{ARCH}/{BUDGET}/r0/s0/accuracy"
GENERATED = ["train_diffusion", "train_guide", "sample"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = make_checkout(tmp_path_factory.mktemp("traced"))
    lock(place, md5)
    return place


def stages(root, name):
    return [step.cell.split("@")[0] for step in trace(read_checkout(root), NAME, name).steps]


def test_a_real_classifier_rests_on_real_images_alone(root):
    assert stages(root, REAL) == ["prepare", "baseline", "predict", "evaluate"]


def test_a_fine_tuned_one_rests_on_the_generator_and_its_first_stage(root):
    found = stages(root, FINE_TUNED)
    assert set(found) == {"prepare", *GENERATED, "pretrain", "finetune", "predict", "evaluate"}
    order = [found.index(stage) for stage in ("train_diffusion", "sample", "pretrain", "finetune", "predict", "evaluate")]
    assert order == sorted(order)


@pytest.mark.parametrize("name", [f"fair/mean/{BUDGET}/balanced_accuracy", "overall"])
def test_a_difference_rests_on_both_arms(root, name):
    assert {"baseline", "finetune", *GENERATED} <= set(stages(root, name))


def test_every_number_has_a_lineage_and_its_own_value(root):
    checkout, known = read_checkout(root), numbers(root, NAME)
    verdict = json.loads((root / f"metrics/{NAME}/verdict.json").read_text())
    assert len([name for name, number in known.items() if number.file.endswith("verdict.json")]) == len(verdict["records"]) + 1
    for name in list(known)[::7] + ["overall"]:
        found = trace(checkout, NAME, name)
        assert found.steps[-1].cell == f"evaluate@{NAME}" and found.number.value == known[name].value


def test_digests_are_those_of_the_lock_and_changed_outputs_are_named(tmp_path):
    root = make_checkout(tmp_path)
    lock(root, md5)
    weights = root / f"artifacts/baseline/{NAME}/{BUDGET}/{ARCH}/r0/real-s1.safetensors"
    before = {step.cell: step for step in trace(read_checkout(root), NAME, REAL).steps}
    weights.write_bytes(b"other weights")
    after = {step.cell: step for step in trace(read_checkout(root), NAME, REAL).steps}
    cell = f"baseline@{NAME}-{BUDGET}-{ARCH}"
    assert (before[cell].state, after[cell].state) == ("present", "changed")
    assert before[cell].outputs == read_checkout(root).cells[cell].outs


def test_faults_are_one_sentence(root):
    with pytest.raises(UserError, match=f"no number 'real/{ARCH}'.*nearest"):
        trace(read_checkout(root), NAME, f"real/{ARCH}")
    with pytest.raises(UserError, match="no results of the profile 'other'"):
        trace(read_checkout(root), "other", REAL)


def test_the_command_prints_and_writes(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert main(["trace", REAL, "--profile", NAME, "--json", str(tmp_path / "lineage.json")]) == 0
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "lineage.json").read_text())
    assert printed.startswith(f"{REAL} = ") and "python stages/baseline.py" in printed
    assert [step["cell"].split("@")[0] for step in written["steps"]] == ["prepare", "baseline", "predict", "evaluate"]
    assert "synthplanes track" in printed and written["mlflow_run"] is None


def test_it_does_not_load_torch_or_mlflow():
    code = "import sys, synthplanes.tracking.lineage; print({'torch', 'mlflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
