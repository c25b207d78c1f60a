"""`synthplanes verify` on a pipeline of three small stages: what it says of sound, changed and lost runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthplanes.cli import main
from synthplanes.errors import UserError
from synthplanes.reproduction.comparison import TOLERANCE, distance

ROOT = Path(__file__).resolve().parents[1]
DVC_YAML = """stages:
  draw:
    matrix: {profile: "${profile}"}
    cmd: python stages/draw.py ${item.profile}
    deps:
      - stages/draw.py
      - artifacts/raw/${item.profile}
    params:
      - profiles.${item.profile}.seed
    outs:
      - artifacts/drawn/${item.profile}
  learn:
    matrix: {profile: "${profile}"}
    cmd: python stages/learn.py ${item.profile}
    deps:
      - stages/learn.py
      - requirements.lock
      - artifacts/drawn/${item.profile}
    outs:
      - artifacts/learned/${item.profile}
  judge:
    matrix: {profile: "${profile}"}
    cmd: python stages/judge.py ${item.profile}
    deps:
      - stages/judge.py
      - artifacts/learned/${item.profile}
    metrics:
      - metrics/${item.profile}/verdict.json:
          cache: false
"""
CURVE = """  curve:
    matrix: {profile: "${profile}", budget: "${budgets}"}
    cmd: mkdir -p artifacts/curve/${item.profile} && echo ${item.budget} > artifacts/curve/${item.profile}/${item.budget}
    deps:
      - artifacts/learned/${item.profile}
    outs:
      - artifacts/curve/${item.profile}/${item.budget}
"""
DRAW = """import pathlib, random, re, sys
seed = int(re.search(r"seed: (\\d+)", pathlib.Path("params.yaml").read_text())[1])
out = pathlib.Path("artifacts/drawn", sys.argv[1]); out.mkdir(parents=True, exist_ok=True)
draw = random.Random(seed)
raw = pathlib.Path("artifacts/raw", sys.argv[1], "pixels.bin").read_bytes()
(out / "pixels.csv").write_text("".join(f"{draw.random() + pixel / 1e6}\\n" for pixel in raw))
"""
LEARN = """import pathlib, sys
pixels = [float(x) for x in pathlib.Path("artifacts/drawn", sys.argv[1], "pixels.csv").read_text().split()]
out = pathlib.Path("artifacts/learned", sys.argv[1]); out.mkdir(parents=True, exist_ok=True)
(out / "weight.csv").write_text(str(sum(pixels) / len(pixels) * 1.0))
"""
JUDGE = """import json, pathlib, sys
weight = float(pathlib.Path("artifacts/learned", sys.argv[1], "weight.csv").read_text())
out = pathlib.Path("metrics", sys.argv[1]); out.mkdir(parents=True, exist_ok=True)
word = "helps" if weight > .3 else "hurts"
(out / "verdict.json").write_text(json.dumps({"overall": {"word": word, "estimate": weight}}))
"""


def shell(folder: Path, *command: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with one committed run of profile `toy`."""
    folder = tmp_path_factory.mktemp("published")
    for name, text in {"dvc.yaml": DVC_YAML, "stages/draw.py": DRAW, "stages/learn.py": LEARN, "stages/judge.py": JUDGE,
                       "params.yaml": "profile: [other]\nprofiles:\n  toy:\n    seed: 7\n  other:\n    seed: 7\n",
                       "requirements.lock": "numpy==0.0.1\nno-such-package==1.0\n", ".gitignore": "/artifacts/\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shell(folder, "git", "init", "-q")
    shell(folder, sys.executable, "-m", "dvc", "init", "-q")
    put_raw_images(folder)
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("[other]", "[toy]"))
    shell(folder, sys.executable, "-m", "dvc", "repro", "-q")
    (folder / "params.yaml").write_text(params)  # the published profile is not the active one
    commit(folder, "a run")
    return folder


def put_raw_images(folder: Path, profile: str = "toy") -> Path:
    """What `synthplanes fetch` would bring; not under version control."""
    raw = folder / "artifacts" / "raw" / profile / "pixels.bin"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_bytes(bytes(range(100)))
    return raw


def commit(folder: Path, words: str) -> None:
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", words)


@pytest.fixture
def clone(published, tmp_path, monkeypatch):
    """A clone at another path, with the DVC cache of the first."""
    folder = tmp_path / "elsewhere" / "clone"
    shell(tmp_path, "git", "clone", "-q", str(published), str(folder))
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {published / '.dvc' / 'cache'}\n")
    put_raw_images(folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def outcome(capfd, *words: str, out: Path) -> tuple[int, dict, str]:
    status = main(["verify", *words, "--profile", "toy", "--json", str(out)])
    return status, json.loads(out.read_text()), capfd.readouterr().out


def test_a_sound_run_is_bit_exact_from_a_clone_at_another_path(clone, tmp_path, capfd):
    status, found, printed = outcome(capfd, out=tmp_path / "found.json")
    assert (status, found["level"], found["first_that_differs"]) == (0, "bit-exact", None)
    assert [cell["cell"] for cell in found["cells"]] == ["draw@toy", "learn@toy", "judge@toy"]
    assert "profile toy: bit-exact" in printed and "numpy 0.0.1, here" in printed


def add_budgets(folder: Path, lists: dict[str, str]) -> None:
    """A stage with a cell per budget, and a run of every profile of `lists` with its own list of budgets, in that order."""
    (folder / "dvc.yaml").write_text((folder / "dvc.yaml").read_text() + CURVE)
    (folder / "params.yaml").write_text("budgets: []\n" + (folder / "params.yaml").read_text())
    for profile, budgets in lists.items():
        text = (folder / "params.yaml").read_text()
        text = re.sub(r"(?m)^profile:.*$", f"profile: [{profile}]", text)
        (folder / "params.yaml").write_text(re.sub(r"(?m)^budgets:.*$", f"budgets: [{budgets}]", text))
        shell(folder, sys.executable, "-m", "dvc", "repro", "-q")
    commit(folder, "a run with budgets")


def test_a_profile_whose_budgets_are_not_in_the_lists_of_the_active_ones_is_run_with_its_own(clone, tmp_path, capfd):
    put_raw_images(clone, "other")
    add_budgets(clone, {"toy": "small, large", "other": "small"})
    status, found, _ = outcome(capfd, out=tmp_path / "found.json")
    assert (status, found["level"]) == (0, "bit-exact")
    assert {"curve@toy-small", "curve@toy-large"} < {cell["cell"] for cell in found["cells"]}
    assert outcome(capfd, "--restore", out=tmp_path / "found.json")[1]["level"] == "restored"


@pytest.mark.parametrize("part, before, after, level, first", [
    ("params.yaml", "seed: 7", "seed: 8", "same conclusion", "draw@toy"),
    ("stages/draw.py", "draw.random()", "draw.random() / 4", "different", "draw@toy"),
    ("stages/learn.py", "* 1.0", "* 1.000001", "within tolerance", "learn@toy"),
    ("stages/judge.py", '"hurts"', '"hurts", "why": 1', "bit-exact", None),
    ("stages/judge.py", "weight > .3", "weight > .9", "different", "judge@toy"),
])
def test_one_change_is_named_at_the_first_stage_that_differs(clone, tmp_path, capfd, part, before, after, level, first):
    text = (clone / part).read_text()
    assert before in text
    if after.endswith('"why": 1'):
        after = before + "  # a comment"
    (clone / part).write_text(text.replace(before, after))
    commit(clone, "one change")
    status, found, printed = outcome(capfd, out=tmp_path / "found.json")
    assert (found["level"], found["first_that_differs"]) == (level, first)
    assert status == {"bit-exact": 0, "within tolerance": 3, "same conclusion": 4, "different": 5}[level]
    assert first is None or f"first that differs: {first}" in printed


def test_one_pixel_of_an_input_is_named(clone, tmp_path, capfd):
    raw = clone / "artifacts" / "raw" / "toy" / "pixels.bin"
    raw.write_bytes(bytes([raw.read_bytes()[0] + 1]) + raw.read_bytes()[1:])
    status, found, printed = outcome(capfd, out=tmp_path / "found.json")
    assert (found["first_that_differs"], found["level"], status) == ("draw@toy", "within tolerance", 3)
    assert found["cells"][0]["other_inputs"] == ["artifacts/raw/toy"] and "from other inputs: artifacts/raw/toy" in printed
    assert not found["cells"][1]["other_inputs"]  # it follows from what the first made


def test_one_dependency_version_is_named_where_it_goes_in(clone, tmp_path, capfd):
    lock = clone / "requirements.lock"
    lock.write_text(lock.read_text().replace("numpy==0.0.1", "numpy==0.0.2"))
    commit(clone, "another numpy, and no new run")
    status, found, printed = outcome(capfd, out=tmp_path / "found.json")
    assert (found["first_from_other_inputs"], found["level"], status) == ("learn@toy", "bit-exact", 0)
    assert "learn@toy  identical, from other inputs: requirements.lock" in printed and "numpy 0.0.2, here" in printed
    commits = subprocess.run(["git", "log", "--format=%h"], cwd=clone, capture_output=True, text=True).stdout.split()
    assert found["out_of_step"] == "learn@toy" and found["recorded_by"] == commits[1] and "verify that one" in printed


def test_one_weight_in_the_published_results_is_named(clone, tmp_path, capfd):
    """Somebody changes a trained weight, lets DVC record it, judges with it and publishes that."""
    params = (clone / "params.yaml").read_text()
    (clone / "params.yaml").write_text(params.replace("[other]", "[toy]"))
    shell(clone, sys.executable, "-m", "dvc", "checkout", "-q")
    weight = clone / "artifacts" / "learned" / "toy" / "weight.csv"
    value = float(weight.read_text())
    weight.unlink()  # the checkout may have linked it to the cache
    weight.write_text(str(value + .002))
    shell(clone, sys.executable, "-m", "dvc", "commit", "-q", "-f", "learn@toy")
    shell(clone, sys.executable, "-m", "dvc", "repro", "-q")
    (clone / "params.yaml").write_text(params)
    commit(clone, "better results")
    status, found, printed = outcome(capfd, out=tmp_path / "found.json")
    assert (found["first_that_differs"], found["level"], status) == ("learn@toy", "within tolerance", 3)
    assert not found["first_from_other_inputs"] and "judge@toy  within tolerance" in printed and "0.002000" in printed


def test_a_shallow_clone_verifies_its_own_revision_and_says_what_it_lacks(clone, tmp_path, capfd, monkeypatch):
    commits = subprocess.run(["git", "rev-list", "HEAD"], cwd=clone, capture_output=True, text=True).stdout.split()
    (clone / "note.txt").write_text("a second commit")
    commit(clone, "a note")
    shallow = tmp_path / "shallow"
    shell(tmp_path, "git", "clone", "-q", "--depth", "1", f"file://{clone}", str(shallow))
    put_raw_images(shallow)
    monkeypatch.chdir(shallow)
    assert outcome(capfd, out=tmp_path / "found.json")[1]["level"] == "bit-exact"
    with pytest.raises(UserError, match="is no revision of this repository.*--unshallow"):
        outcome(capfd, commits[0], out=tmp_path / "found.json")


def test_uncommitted_changes_are_not_what_is_verified_and_old_revisions_can_be(clone, tmp_path, capfd):
    (clone / "stages" / "learn.py").write_text("raise SystemExit(1)\n")
    assert outcome(capfd, out=tmp_path / "a.json")[1]["level"] == "bit-exact"
    commit(clone, "broken")
    assert outcome(capfd, "HEAD~1", out=tmp_path / "b.json")[1]["level"] == "bit-exact"
    with pytest.raises(UserError, match="a stage failed"):
        outcome(capfd, out=tmp_path / "c.json")


def test_a_single_stage_runs_on_restored_inputs(clone, tmp_path, capfd):
    status, found, _ = outcome(capfd, "--stages", "learn", out=tmp_path / "found.json")
    assert status == 0 and [cell["cell"] for cell in found["cells"]] == ["learn@toy"]


def test_restoring_computes_digests_and_misses_what_the_cache_lost(clone, tmp_path, capfd, published):
    status, found, _ = outcome(capfd, "--restore", out=tmp_path / "found.json")
    assert (status, found["level"]) == (0, "restored"), found
    cache = tmp_path / "cache"
    shell(clone, "cp", "-r", f"{published}/.dvc/cache", str(cache))
    (clone / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    for file in (cache / "files" / "md5").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.unlink()
    status, found, _ = outcome(capfd, "--restore", out=tmp_path / "found.json")
    assert status == 5 and found["first_that_differs"] == "draw@toy" and found["cells"][0]["state"] == "missing"
    with pytest.raises(UserError, match="dvc pull"):
        outcome(capfd, "--stages", "learn", out=tmp_path / "found.json")


def test_files_without_version_control_can_be_verified_as_they_are(clone, tmp_path, capfd):
    shell(clone, "rm", "-rf", ".git")
    (clone / ".dvc" / "config.local").unlink()
    assert outcome(capfd, out=tmp_path / "found.json")[1]["level"] == "bit-exact"
    with pytest.raises(UserError, match="no version control"):
        outcome(capfd, "HEAD", out=tmp_path / "found.json")


@pytest.mark.parametrize("words, sentence", [
    (["v9", "--profile", "toy"], "'v9' is no revision"),
    (["--profile", "none"], "no profile 'none'"),
    (["--profile", "other"], "records no run of profile 'other'"),
    (["--profile", "toy", "--stages", "paint"], "no stage 'paint'"),
])
def test_what_cannot_be_verified_is_said_in_a_sentence(clone, words, sentence):
    with pytest.raises(UserError, match=sentence):
        main(["verify", *words])


def test_distance_compares_numbers_and_nothing_else(tmp_path):
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name
    base = file("a.json", '{"x": [1.0, 2], "word": "helps", "told": "gains 1.0 points"}')
    assert distance(base, base) == 0
    assert distance(base, file("b.json", '{"x": [1.0, 2.25], "word": "helps", "told": "gains 2.0 points"}')) == 0.25
    assert distance(base, file("c.json", '{"x": [1.0, 2], "word": "hurts", "told": "gains 1.0 points"}')) == float("inf")
    assert distance(base, file("d.json", '{"x": [1.0], "word": "helps", "told": ""}')) == float("inf")
    assert distance(base, tmp_path / "absent.json") == float("inf")
    table = file("a.csv", "arm,value\nreal,0.5\n")
    assert distance(table, file("b.csv", "arm,value\nreal,0.504\n")) == pytest.approx(.004) and .004 < TOLERANCE
    assert distance(table, file("c.csv", "arm,value\nmixed,0.5\n")) == float("inf")
