"""`trace`: every number of the results leads back to the first input, over the stages on which it rests alone."""

import json
import shutil
import subprocess
import sys

import pytest

from synthplanes.cli import main
from synthplanes.errors import UserError
from synthplanes.reproduction.checkout import md5, read_checkout
from synthplanes.reproduction.lineage import numbers, trace
from tests.checkout import commit, git
from tests.fake_checkout import ARCH, BUDGET, NAME, lock, make_checkout, paths

REAL = f"real/{ARCH}/{BUDGET}/r0/s1/balanced_accuracy"
FINE_TUNED = f"synthetic_then_real/{ARCH}/{BUDGET}/r0/s0/accuracy"
ALWAYS = ["simulate", "prepare", "plan", "predict", "evaluate"]
GENERATED = ["train_diffusion", "train_guide", "sample"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make_checkout(tmp_path_factory.mktemp("traced"))
    lock(root, md5)
    return root


def stages(root, name):
    return [step.stage.split("@")[0] for step in trace(read_checkout(root), NAME, name).steps]


@pytest.mark.parametrize("arm, others", [
    ("real", ["baseline"]), ("oracle_then_real", ["pretrain", "finetune"]), ("real_distilled", ["baseline"]),
    ("synthetic_then_real", [*GENERATED, "pretrain", "finetune"]), ("joint", [*GENERATED, "joint"]),
    ("oracle_joint", ["joint"]), ("duplicate_joint", ["baseline"])])
def test_a_classifier_rests_on_its_own_images_and_its_first_stage(root, arm, others):
    steps = stages(root, f"{arm}/{ARCH}/{BUDGET}/r0/s0/accuracy")
    assert sorted(steps) == sorted(ALWAYS + others)
    order = [steps.index(stage) for stage in (*others, "predict", "evaluate") if stage != "train_guide"]
    assert order == sorted(order)


@pytest.mark.parametrize("name", [f"fair/mean/{BUDGET}/balanced_accuracy", "overall"])
def test_a_difference_rests_on_both_arms(root, name):
    assert {"baseline", "finetune", *GENERATED} <= set(stages(root, name))


def test_the_verdict_rests_on_the_arms_of_all_hypotheses_that_it_has(root, tmp_path):
    assert "joint" in stages(root, "overall")
    overall, path = numbers(root, NAME)["overall"], paths(root).metrics / "verdict.json"
    words = {name: judged["verdict"] for name, judged in json.loads(path.read_text())["hypotheses"].items()}
    assert set(words) == {"paper_order", "joint"}
    assert overall.value == f"joint: {words['joint']}; paper_order: {words['paper_order']}"
    assert overall.arms == ("duplicate_joint", "joint", "real", "real_two_stage", "synthetic_then_real")
    alone = tmp_path / "alone"
    shutil.copytree(root, alone)
    verdict = json.loads(path.read_text())
    del verdict["hypotheses"]["joint"]
    (paths(alone).metrics / "verdict.json").write_text(json.dumps(verdict))
    assert numbers(alone, NAME)["overall"].arms == ("real", "real_two_stage", "synthetic_then_real")
    steps = stages(alone, "overall")
    assert "finetune" in steps and "joint" not in steps


def test_every_number_has_a_lineage_and_its_own_value(root):
    checkout, known = read_checkout(root), numbers(root, NAME)
    tables = [(paths(root).metrics / table).read_text().splitlines() for table in ("scores.csv", "contrasts.csv")]
    assert len(known) == sum(len(table) - 1 for table in tables) + 1
    for name in [*list(known)[::40], "overall"]:
        lineage = trace(checkout, NAME, name)
        assert lineage.steps[-1].stage == f"evaluate@{NAME}"
        assert str(lineage.number.value) == str(known[name].value)


def test_digests_are_those_of_the_lock_and_changed_outputs_are_named(tmp_path):
    root = make_checkout(tmp_path)
    lock(root, md5)
    name = f"baseline@{NAME}"
    before = {step.stage: step for step in trace(read_checkout(root), NAME, REAL).steps}
    paths(root).weights("baseline", BUDGET, ARCH, 0, "real", 1).write_bytes(b"other weights")
    paths(root).protocol_file("baseline").write_text("{}")
    after = {step.stage: step for step in trace(read_checkout(root), NAME, REAL).steps}
    assert (before[name].state, after[name].state) == ("present", "changed")
    assert before[name].outputs == after[name].outputs == read_checkout(root).stages[name].outs
    assert before[name].parameters["recipe.batch_size"] == 8 and not after[name].parameters  # other than recorded


def test_faults_are_one_sentence(root):
    with pytest.raises(UserError, match=f"no number 'real/{ARCH}'.*nearest"):
        trace(read_checkout(root), NAME, f"real/{ARCH}")
    with pytest.raises(UserError, match="no results of the profile 'other'"):
        trace(read_checkout(root), "other", REAL)


def test_the_command_prints_one_screen_and_writes_everything(root, tmp_path, monkeypatch, capsys):
    git(root, "init", "-q")
    (root / ".gitignore").write_text("/artifacts/\n")
    commit(root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert main(["trace", FINE_TUNED, "--profile", NAME, "--json", str(tmp_path / "lineage.json")]) == 0
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "lineage.json").read_text())
    assert printed.startswith(f"{FINE_TUNED} = ") and f"recorded by  {git(root, 'rev-parse', 'HEAD')}" in printed
    lines = printed.splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 120, printed
    assert "stage_1_updates 40" in printed and "margin 0.02" in printed and "synthplanes track" in printed
    assert written["steps"][-1]["stage"] == f"evaluate@{NAME}" and written["mlflow_run"] is None
    main(["trace", REAL, "--profile", NAME, "--all"])
    printed = capsys.readouterr().out
    assert f"--stage baseline --profile {NAME}" in printed and "set   recipe.batch_size = 8" in printed
    checkout = read_checkout(root)
    assert checkout.stages[f"baseline@{NAME}"].outs[f"artifacts/baseline/{NAME}"] in printed


def test_it_does_not_load_torch_or_mlflow():
    code = "import sys, synthplanes.reproduction.lineage; print({'torch', 'mlflow', 'dvc'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
