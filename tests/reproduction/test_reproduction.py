"""`synthplanes verify` on a pipeline of three small stages: what it says of sound, changed and lost runs."""

import json
import shutil
from pathlib import Path

import pytest

from synthplanes.cli import main
from synthplanes.errors import UserError
from synthplanes.reproduction.checkout import Checkout, LockedStage, md5
from synthplanes.reproduction.comparison import TOLERANCE, compare, distance
from synthplanes.reproduction.verification import dvc_repository
from tests.checkout import commit, git
from tests.reproduction.toy import OUTPUTS, active, edit, make_toy, put_raw_images, run


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with one committed run of the profile `toy`, which is not the active one."""
    folder = make_toy(tmp_path_factory.mktemp("published"))
    put_raw_images(folder)
    run(folder, "toy")
    commit(folder, "a run")
    return folder


@pytest.fixture
def clone(published, tmp_path, monkeypatch):
    """A clone at another path, with the DVC cache of the first."""
    folder = tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "-q", str(published), str(folder))
    use_cache(folder, published / ".dvc" / "cache")
    put_raw_images(folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def use_cache(folder: Path, cache: Path) -> None:
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")


def outcome(capfd, *words: str, out: Path) -> tuple[int, dict, str]:
    status = main(["verify", *words, "--profile", "toy", "--json", str(out)])
    return status, json.loads(out.read_text()), capfd.readouterr().out


def test_a_sound_run_is_bit_exact_from_a_clone_at_another_path(clone, tmp_path, capfd):
    status, said, printed = outcome(capfd, out=tmp_path / "said.json")
    assert (status, said["outcome"], said["first_that_differs"], said["out_of_step"]) == (0, "bit-exact", None, None)
    assert [stage["name"] for stage in said["stages"]] == ["draw@toy", "learn@toy", "judge@toy"]
    assert "profile toy: bit-exact" in printed and "numpy 0.0.1, here" in printed
    assert "# the active one" in (clone / "params.yaml").read_text() and git(clone, "status", "--porcelain") == ""


@pytest.mark.parametrize("part, before, after, expected, first, inputs", [
    ("params.yaml", "seed: 7", "seed: 8", "same conclusion", "draw@toy", ["simulate.seed"]),
    ("stages/draw.py", "draw.random()", "draw.random() / 4", "different", "draw@toy", ["draw.py"]),
    ("stages/learn.py", "* 1.0", "* 1.000001", "within tolerance", "learn@toy", ["learn.py"]),
    ("stages/judge.py", '"harm"', '"harm"  # a comment', "bit-exact", None, ["judge.py"]),
    ("stages/judge.py", "weight > .3", "weight > .9", "different", "judge@toy", ["judge.py"]),
    ("stages/judge.py", '"inconclusive"', '"equivalent"', "different", "judge@toy", ["judge.py"]),
])
def test_one_change_is_named_at_the_first_stage_that_differs(clone, tmp_path, capfd, part, before, after, expected,
                                                             first, inputs):
    edit(clone, part, before, after)
    status, said, printed = outcome(capfd, out=tmp_path / "said.json")
    assert (said["outcome"], said["first_that_differs"]) == (expected, first)
    assert status == {"bit-exact": 0, "within tolerance": 3, "same conclusion": 4, "different": 5}[expected]
    assert first is None or f"first that differs: {first}" in printed
    changed = next(stage for stage in said["stages"] if stage["other_inputs"])
    assert changed["name"] == said["out_of_step"] == said["first_from_other_inputs"]
    assert changed["other_inputs"] == inputs and f"from other inputs: {inputs[0]}" in printed


def test_a_change_is_unknown_where_nobody_has_the_recorded_protocol(clone, tmp_path, capfd):
    edit(clone, "params.yaml", "seed: 7", "seed: 8")
    use_cache(clone, tmp_path / "empty")
    said = outcome(capfd, out=tmp_path / "said.json")[1]
    assert said["stages"][0]["other_inputs"] == ["its parameters, code or packages"]


def test_one_pixel_of_an_input_is_named(clone, tmp_path, capfd):
    raw = clone / "artifacts" / "raw" / "toy" / "pixels.bin"
    raw.write_bytes(bytes([raw.read_bytes()[0] + 1]) + raw.read_bytes()[1:])
    status, said, printed = outcome(capfd, out=tmp_path / "said.json")
    assert (said["first_that_differs"], said["outcome"], status) == ("draw@toy", "within tolerance", 3)
    assert said["stages"][0]["other_inputs"] == ["artifacts/raw/toy"]
    assert "from other inputs: artifacts/raw/toy" in printed
    assert not said["stages"][1]["other_inputs"]  # it follows from what the first made


def test_one_dependency_version_is_named_where_it_goes_in(clone, tmp_path, capfd):
    edit(clone, "requirements.lock", "numpy==0.0.1", "numpy==0.0.2")
    status, said, printed = outcome(capfd, out=tmp_path / "said.json")
    assert (said["first_from_other_inputs"], said["outcome"], status) == ("draw@toy", "bit-exact", 0)
    assert "draw@toy   identical, from other inputs: packages" in printed and "numpy 0.0.2, here" in printed
    commits = git(clone, "log", "--format=%H").split()
    assert said["out_of_step"] == "draw@toy" and said["recorded_by"] == commits[1][:7] and "verify that one" in printed


def test_one_weight_in_the_published_results_is_named(clone, tmp_path, capfd):
    """Somebody changes a trained weight, lets DVC record it, judges with it and publishes that."""
    weight = clone / "artifacts" / "learned" / "toy" / "weight.csv"
    with active(clone, "toy"):
        with dvc_repository(clone) as repository:
            repository.checkout()
        value = float(weight.read_text())
        weight.unlink()  # DVC may have linked it to the cache
        weight.write_text(str(value + .002))
        with dvc_repository(clone) as repository:
            repository.commit("learn@toy", force=True)
    run(clone, "toy")
    commit(clone, "better results")
    status, said, printed = outcome(capfd, out=tmp_path / "said.json")
    assert (said["first_that_differs"], said["outcome"], status) == ("learn@toy", "within tolerance", 3)
    assert not said["first_from_other_inputs"] and "judge@toy  within tolerance" in printed and "0.002000" in printed


def test_a_shallow_clone_verifies_its_own_revision_and_says_what_it_lacks(clone, tmp_path, capfd, monkeypatch):
    first = git(clone, "rev-parse", "HEAD")
    (clone / "note.txt").write_text("a second commit")
    commit(clone, "a note")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{clone}", str(shallow))
    put_raw_images(shallow)
    monkeypatch.chdir(shallow)
    assert outcome(capfd, out=tmp_path / "said.json")[1]["outcome"] == "bit-exact"
    with pytest.raises(UserError, match="is no revision of this repository.*--unshallow"):
        outcome(capfd, first, out=tmp_path / "said.json")


def test_uncommitted_changes_are_not_what_is_verified_and_old_revisions_can_be(clone, tmp_path, capfd):
    (clone / "stages" / "learn.py").write_text("raise SystemExit(1)\n")
    assert outcome(capfd, out=tmp_path / "a.json")[1]["outcome"] == "bit-exact"
    commit(clone, "broken")
    assert outcome(capfd, "HEAD~1", out=tmp_path / "b.json")[1]["outcome"] == "bit-exact"
    with pytest.raises(UserError, match="failed to reproduce 'learn@toy'"):
        outcome(capfd, out=tmp_path / "c.json")


def test_a_single_stage_runs_on_restored_inputs(clone, tmp_path, capfd):
    shutil.rmtree(clone / "artifacts" / "raw")  # which it does not read
    status, said, _ = outcome(capfd, "--stages", "learn", out=tmp_path / "said.json")
    assert status == 0 and [stage["name"] for stage in said["stages"]] == ["learn@toy"]
    with pytest.raises(UserError, match="artifacts/raw/toy is not here: .*synthplanes fetch"):
        outcome(capfd, "--stages", "draw", out=tmp_path / "said.json")


def test_restoring_computes_digests_and_says_what_is_absent(clone, tmp_path, capfd, published):
    status, said, _ = outcome(capfd, "--restore", out=tmp_path / "said.json")
    assert (status, said["outcome"]) == (0, "restored"), said
    assert [stage["name"] for stage in said["stages"]][0] == "protocol@toy"
    cache = tmp_path / "cache"
    shutil.copytree(published / ".dvc" / "cache", cache)
    use_cache(clone, cache)
    damaged = cache / "files" / "md5" / md5(published / OUTPUTS[1].format("toy"))[:2]
    file = next(damaged.iterdir())
    file.chmod(0o644)
    file.write_text("1.0")
    status, said, printed = outcome(capfd, "--restore", out=tmp_path / "said.json")
    assert (status, said["outcome"], said["first_that_differs"]) == (5, "different", "learn@toy")
    shutil.rmtree(cache)
    status, said, printed = outcome(capfd, "--restore", out=tmp_path / "said.json")
    assert (status, said["outcome"], said["first_that_differs"]) == (6, "absent", "protocol@toy")
    assert "draw@toy      absent: artifacts/drawn/toy (`dvc pull` or `dvc repro` brings it)" in printed
    assert [stage["state"] for stage in said["stages"]] == ["absent", "absent", "absent", "identical"]
    shutil.copytree(published / "artifacts", clone / "artifacts", dirs_exist_ok=True)
    assert outcome(capfd, "--restore", out=tmp_path / "said.json")[0] == 0  # the working tree has them
    shutil.rmtree(clone / "artifacts" / "drawn")
    with pytest.raises(UserError, match="artifacts/drawn/toy is not here: .*dvc pull"):
        outcome(capfd, "--stages", "learn", out=tmp_path / "said.json")


def test_files_without_version_control_can_be_verified_as_they_are(clone, tmp_path, capfd):
    shutil.rmtree(clone / ".git")
    (clone / ".dvc" / "config.local").unlink()
    assert outcome(capfd, out=tmp_path / "said.json")[1]["outcome"] == "bit-exact"
    with pytest.raises(UserError, match="no version control"):
        outcome(capfd, "HEAD", out=tmp_path / "said.json")


@pytest.mark.parametrize("words, sentence", [
    (["v9", "--profile", "toy"], "'v9' is no revision"),
    (["--profile", "none"], "no run of profile 'none'"),
    (["--profile", "other"], "records no run of profile 'other'"),
    (["--profile", "toy", "--stages", "paint"], "no stage 'paint'"),
])
def test_what_cannot_be_verified_is_said_in_a_sentence(clone, words, sentence):
    with pytest.raises(UserError, match=sentence):
        main(["verify", *words])


def test_the_platform_is_named_where_it_differs(tmp_path):
    checkouts = []
    for instructions, number in (("avx512", 0.5), ("avx2", 0.502)):
        root = tmp_path / instructions
        (root / "metrics/toy").mkdir(parents=True)
        (root / "metrics/toy/verdict.json").write_text(json.dumps({
            "overall": {"word": "harm"}, "hypotheses": {"joint": {"word": "harm", "p_value": number}},
            "platform": {"instructions": instructions, "threads": 2}}))
        judge = LockedStage("judge@toy", "judge", "toy", "", {}, {"metrics/toy/verdict.json": instructions})
        checkouts.append(Checkout(root, {"judge@toy": judge}))
    compared = compare(*checkouts, [*checkouts[0].stages.values()], {})
    assert compared.platform == ("instructions avx512, here avx2",) and compared.outcome == "within tolerance"
    assert any(line.startswith("platform: instructions avx512, here avx2") for line in compared.lines())


def test_distance_compares_numbers_and_nothing_else(tmp_path):
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name
    base = file("a.json", '{"x": [1.0, 2], "word": "worthwhile gain", "sentence": "gains +0.1 points"}')
    assert distance(base, base) == 0
    other = file("b.json", '{"x": [1.0, 2.25], "word": "worthwhile gain", "sentence": "gains -12.0 points"}')
    assert distance(base, other) == .25
    for text in ('{"x": [1.0, 2], "word": "no worthwhile gain", "sentence": "gains +0.1 points"}',
                 '{"x": [1.0, 2], "word": "harm", "sentence": "gains +0.1 points"}',
                 '{"x": [1.0, 2], "word": "worthwhile gain", "sentence": "loses +0.1 points"}',
                 '{"x": [1.0], "word": "worthwhile gain", "sentence": "gains +0.1 points"}'):
        assert distance(base, file("c.json", text)) == float("inf"), text
    assert distance(base, tmp_path / "absent.json") == float("inf")
    table = file("a.csv", "arm,value,met\nreal,0.5,True\nreal,,True\n")
    assert distance(table, table) == 0
    other = file("b.csv", "arm,value,met\nreal,0.504,True\nreal,,True\n")
    assert distance(table, other) == pytest.approx(.004) and TOLERANCE > .004
    for name, text in (("c.csv", "arm,value,met\njoint,0.5,True\nreal,,True\n"),
                       ("d.csv", "arm,value,met\nreal,0.5,True\n"),
                       ("e.csv", "arm,value,met\nreal,0.5,False\nreal,,True\n"),
                       ("f.csv", "arm,value,met\nreal,0.5,True\nreal,0.5,True\n"), ("g.csv", "arm,met,value\n")):
        assert distance(table, file(name, text)) == float("inf"), name
