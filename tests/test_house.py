"""The house rules that a machine can check: imports go down, stages are short, dvc.yaml tells the truth."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from synthplanes.reproduction.checkout import md5, read_checkout
from synthplanes.reproduction.code_digests import imported_names, reach

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py"))
# Rooms by floor; a module may import its own room and lower floors only.
FLOORS = {"errors": 0, "seeds": 0, "records": 0, "protocol": 0, "sections": 0, "command": 0, "progress": 0,
          "torchvision_operators": 0, "weights": 0, "scratch": 0, "adopted": 0, "devices": 0, "code_digests": 0,
          "side_by_side": 0, "data": 1, "statistics": 1, "diffusion": 2, "classification": 2, "fidelity": 2,
          "counted_work": 3, "figures": 3, "markdown": 3, "report_sections": 3, "report_uncertainty": 3,
          "report_inputs": 3, "report_budgets": 3, "report_rivals": 3, "report_slices": 3, "planning": 3, "reporting": 3,
          "tracking": 3, "checkout": 3, "reproduction": 3, "cli": 4}
ONLY_IN = {"mlflow": ("tracking",), "matplotlib": ("figures",), "diffusers": ("diffusion",), "timm": ("classification",)}
TORCH_FREE = ("data", "statistics", "errors", "seeds", "records", "protocol", "sections", "command", "progress",
              "code_digests")


def modules():
    return sorted((SOURCE / "synthplanes").rglob("*.py"))


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE / "synthplanes").with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def test_every_room_has_a_floor():
    assert {room_of(path) for path in modules()} - {""} == set(FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path):
    here = room_of(path)
    for name in imported_names(path):
        if name.startswith("synthplanes.") and here:
            there = room(name)
            if there in FLOORS and there != here:
                # Rooms of floors 1 and 2 meet in files only; floors 0 and 3 may lean on their own floor.
                allowed = FLOORS[there] <= FLOORS[here] if FLOORS[here] in (0, 3) else FLOORS[there] < FLOORS[here]
                assert allowed, f"{path.name} ({here}) imports {name}"
        library = name.split(".")[0]
        if library in ONLY_IN:
            assert here in ONLY_IN[library], f"{path} imports {library}"
        if library in ("torch", "safetensors"):
            assert here not in TORCH_FREE, f"{path} imports {library}"


def test_yaml_is_read_in_one_place_for_the_protocol():
    readers = {room_of(path) for path in modules() if any(name.startswith("ruamel") for name in imported_names(path))}
    assert readers <= {"protocol", "checkout", "reproduction"}  # dvc.lock, and the order of stages in dvc.yaml


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_fits_on_a_screen_and_knows_no_path(stage):
    path = ROOT / "stages" / f"{stage}.py"
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert "artifacts" not in text and "mlflow" not in text
    body = ast.parse(text).body
    assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.If) for node in body)


def pipeline() -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_dvc_yaml_has_exactly_the_stages():
    assert sorted(pipeline()) == STAGES


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "fingerprint"])
def test_a_stage_depends_on_the_digests_of_its_own_code_and_on_the_environment(stage):
    deps = pipeline()[stage]["deps"]
    assert [dep for dep in deps if dep.startswith("artifacts/code")] == [f"artifacts/code/{stage}.json"]
    assert "requirements.lock" in deps and not [dep for dep in deps if dep.endswith(".py")]


def test_the_fingerprint_sees_all_code():
    assert pipeline()["fingerprint"]["deps"] == ["stages", "src/synthplanes"]
    assert all(path.is_relative_to(SOURCE / "synthplanes") for path in SOURCE.rglob("*.py"))


def test_what_stages_really_import_lies_within_their_reach():
    """Every script is run far enough to import all that stands at its top; the digests must cover it."""
    program = ("import runpy, sys; runpy.run_path(sys.argv[1], run_name='stage');"
               "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'synthplanes'), sep='\\n')")
    for stage in STAGES:
        script = ROOT / "stages" / f"{stage}.py"
        result = subprocess.run([sys.executable, "-c", program, str(script)], capture_output=True, text=True, check=True)
        imported = {Path(line) for line in result.stdout.splitlines()}
        assert imported and imported <= reach(script, SOURCE), stage


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gets_its_paths_from_dvc_yaml_and_declares_them(stage):
    entry = pipeline()[stage]
    given = set(re.findall(r"--(?!scratch|adopted)\w+ ((?:artifacts|metrics)/\S+)", entry["cmd"]))  # pinned by digests
    flat = [next(iter(item)) if isinstance(item, dict) else item
            for key in ("deps", "outs", "metrics") for item in entry.get(key, [])]
    for path in given:
        assert any(one == path or one.startswith(path + "/") for one in flat), f"{path} is neither dep nor out"


def test_only_predict_opens_test_rows():
    for stage, entry in pipeline().items():
        whole = [dep for dep in entry["deps"] if dep.rstrip("/").endswith("artifacts/prepared/${item.profile}")]
        test = [dep for dep in entry["deps"] if dep.endswith("/test")]
        assert not whole and (bool(test) == (stage == "predict")), stage


# Sections whose values a stage uses only for what changes no output.
PARAMETER_CODE = {"protocol.py", "counted_work.py"}  # reads all of params.yaml for whoever asks; sums up what was spent
UNTRACKED = {"compute"}  # compute.processes: runs side by side, same bytes (tests/classification/test_runs.py)


def computing(script: Path, known: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """The script and its reach, without PARAMETER_CODE and what is reached through that alone."""
    known |= {script}
    for path in direct(script):
        if path not in known and path.name not in PARAMETER_CODE:
            known |= computing(path, known)
    return known


def direct(path: Path) -> set[Path]:
    """The package's files that a module itself imports."""
    places = {SOURCE.joinpath(*name.split(".")) for name in imported_names(path) if name.startswith("synthplanes")}
    return {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}


@pytest.mark.parametrize("stage", STAGES)
def test_the_sections_that_a_stage_reads_are_its_params(stage):
    """`profile.<section>` and `<section>.<field>` in the script and its reach, against dvc.yaml's params."""
    params = pipeline()[stage].get("params", [])
    declared = {param.removeprefix("profiles.${item.profile}.").split(".")[0] for param in params}
    script = ROOT / "stages" / f"{stage}.py"
    texts = [path.read_text(encoding="utf-8") for path in computing(script)]
    read = {name for text in texts for name in re.findall(r"\bprofile\.([a-z]\w*)", text)}
    read = {{"used_budgets": "budgets", "used_archs": "archs"}.get(name, name) for name in read}
    if any("compute.threads" in text for text in texts):
        assert "compute" in declared
    assert read - UNTRACKED <= declared, sorted(read - declared)


@pytest.mark.parametrize("stage", STAGES)
def test_no_parameter_is_declared_and_unread(stage):
    """Otherwise a change of it would run what does not depend on it."""
    declared = {param.removeprefix("profiles.${item.profile}.").split(".")[0] for param in pipeline()[stage].get("params", [])}
    script = ROOT / "stages" / f"{stage}.py"
    texts = [path.read_text(encoding="utf-8") for path in {script, *reach(script, SOURCE)}]
    read = {name for text in texts for name in re.findall(r"\bprofile\.([a-z]\w*)", text)}
    assert declared <= {{"used_budgets": "budgets", "used_archs": "archs"}.get(name, name) for name in read}


def test_every_key_of_params_yaml_is_used_somewhere():
    """A field of `sections` that no other module names (as an attribute, an argument or a field of its own) is dead."""
    sections = SOURCE / "synthplanes" / "sections.py"

    def fields(tree: ast.AST) -> set[str]:
        return {line.target.id for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
                for line in node.body if isinstance(line, ast.AnnAssign)}
    named = set()
    for path in [*modules(), *(ROOT / "stages").glob("*.py")]:
        if path != sections:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named |= fields(tree) | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            named |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not sorted(fields(ast.parse(sections.read_text(encoding="utf-8"))) - named)


def test_committed_metrics_are_those_of_dvc_lock():
    """Of every published profile, also where its code has moved on since (`verify` names the commit that it came with)."""
    published = [(path, digest) for cell in read_checkout(ROOT).cells.values() for path, digest in cell.outs.items()
                 if path.startswith("metrics/")]
    assert published and {path: md5(ROOT / path) for path, _ in published} == dict(published)


def test_dvc_lock_holds_no_cell_that_the_protocol_has_given_up():
    """DVC keeps the entries of renamed roles and deleted profiles; `verify` and `publish` would look for their outputs."""
    protocol = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for cell in read_checkout(ROOT).cells.values():
        assert cell.profile in protocol["profiles"], cell.name
        profile = protocol["profiles"][cell.profile]  # the lists at the top are those of the active profiles only
        assert not cell.budget or cell.budget in profile["budgets"], cell.name
        assert not cell.arch or cell.arch in profile["archs"], cell.name


def test_the_lock_agrees_with_the_direct_dependencies():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins = dict(re.findall(r'"([\w.-]+)==([\w.]+)"', project))
    lock = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", (ROOT / "requirements.lock").read_text(encoding="utf-8")))
    lock = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    assert pins and {name: lock.get(name) for name in pins} == pins
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_readme_and_ci_run_the_same_test_command():
    command = "pip install -c requirements.lock -e '.[test]' && pytest"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
