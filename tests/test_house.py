"""The house rules that a machine can check: imports go down, stages are short, dvc.yaml tells the truth."""

import ast
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from synthplanes.protocol.cells import STAGES, Paths
from synthplanes.protocol.profiles import active_profile, read_names, resolved
from synthplanes.reproduction.checkout import md5, read_checkout
from synthplanes.reproduction.code_digests import imported_names, reach

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "synthplanes"
SCRIPTS = sorted((ROOT / "stages").glob("*.py"))
# Rooms by floor; a module may import its own room and lower floors only. src/synthplanes/README.md draws them.
FLOORS = {"errors": 0, "seeds": 0, "progress": 0, "instructions": 1, "records": 1, "protocol": 2, "phantom": 3,
          "data": 4, "statistics": 4, "compute": 5, "diffusion": 6, "classification": 6, "audit": 6, "reproduction": 7,
          "report": 7, "tracking": 8, "command": 9, "cli": 10}
ONLY_IN = {"mlflow": {"tracking"}, "matplotlib": {"report"}, "jinja2": {"report"}, "diffusers": {"diffusion"},
           "timm": {"classification"}, "dvc": {"reproduction"}, "git": {"reproduction"}}
TORCH_FREE = ("errors", "seeds", "progress", "instructions", "records", "protocol", "phantom", "data", "statistics",
              "report", "reproduction", "command")
MOST_LOOSE_MODULES = 8
MOST_LINES = {"module": 300, "script": 60, "dvc.lock": 5000, "verdict.json": 100}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def test_every_room_has_a_floor():
    assert {room_of(path) for path in modules()} - {""} == set(FLOORS)


def test_few_modules_are_loose():
    loose = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= MOST_LOOSE_MODULES, loose


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path):
    here = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "synthplanes" and len(parts) > 1 and here and parts[1] in FLOORS and parts[1] != here:
            assert FLOORS[parts[1]] < FLOORS[here], f"{path.name} ({here}) imports {name}"
        if parts[0] in ONLY_IN:
            assert here in ONLY_IN[parts[0]], f"{path} imports {name}"
        if parts[0] in ("torch", "safetensors"):
            assert here not in TORCH_FREE, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_one_idea(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES["module"]
    assert not {"getattr", "hasattr"} & {node.func.id for node in ast.walk(ast.parse(text))
                                         if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "Namespace" not in text or room_of(path) == "cli"
    assert path.stem not in ("utils", "helpers", "common")


@pytest.mark.parametrize("path", [*modules(), *SCRIPTS], ids=lambda path: path.name)
def test_no_argument_list_beyond_six(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([a for a in arguments if a not in ("self", "cls")]) <= 6, f"{path.name}: {node.name}"


def test_params_yaml_is_read_in_one_place():
    readers = {room_of(path) for path in modules() if any(name.startswith("ruamel") for name in imported_names(path))}
    assert readers <= {"protocol", "reproduction", "cli"}  # a clone's profile is set, a resolved one is printed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_stage_fits_on_a_screen_and_knows_no_path(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES["script"]
    assert "artifacts" not in text and "mlflow" not in text
    body = ast.parse(text).body
    assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.If) for node in body)


@cache
def pipeline() -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def of_profiles() -> dict:
    """The stages of the matrix of profiles; evidence stands beside them."""
    return {name: entry for name, entry in pipeline().items() if "matrix" in entry}


def outputs(entry: dict) -> list[str]:
    return [next(iter(item)) if isinstance(item, dict) else item
            for key in ("outs", "metrics", "plots") for item in entry.get(key, [])]


def test_dvc_yaml_has_exactly_the_stages_of_the_protocol_in_their_order():
    assert list(of_profiles()) == ["protocol", *STAGES]
    assert {entry.script for entry in STAGES.values()} | {"protocol"} <= {path.stem for path in SCRIPTS}


def test_the_matrix_has_one_dimension():
    for name, entry in of_profiles().items():
        assert entry["matrix"] == {"profile": ["${profile}"]}, name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_script_and_depends_on_its_own_protocol_file(stage):
    entry, script = of_profiles()[stage], STAGES[stage].script
    several = sum(other.script == script for other in STAGES.values()) > 1
    flag = f" --stage {stage}" if several else ""
    assert entry["cmd"] == f"python stages/{script}.py{flag} --profile ${{item.profile}}"
    own = f"artifacts/protocol/${{item.profile}}/{stage}.json"
    assert [dep for dep in entry["deps"] if "/protocol/" in dep] == [own]
    assert "params" not in entry and not [dep for dep in entry["deps"] if dep.endswith((".py", "params.yaml"))]


def test_without_dvc_the_same_commands_run_in_the_same_order():
    commands = runpy.run_path(str(ROOT / "stages" / "run_all.py"))["commands"]("${item.profile}")
    assert {stage: " ".join(["python", *words]) for stage, words in commands.items()} == {
        stage: entry["cmd"] for stage, entry in of_profiles().items()}
    assert list(commands) == list(of_profiles())


@pytest.mark.parametrize("stage", STAGES)
def test_paths_are_the_protocols(stage):
    """dvc.yaml writes out what protocol.cells.Paths gives."""
    paths, entry = Paths("${item.profile}"), of_profiles()[stage]
    written = [path for path in outputs(entry) if path.startswith("artifacts/")]
    assert written == ([str(paths.artifact(STAGES[stage].writes))] if STAGES[stage].writes else [])
    kinds = {dep.split("/")[1] for dep in entry["deps"] if dep.startswith("artifacts/")}
    made = {entry.writes for entry in STAGES.values()} | {"raw", "protocol"}
    assert kinds <= made
    for path in (*entry["deps"], *outputs(entry)):
        assert path.startswith(("artifacts/", "metrics/${item.profile}/")), path


def test_the_protocol_stage_sees_all_code_parameters_and_packages():
    assert pipeline()["protocol"]["deps"] == ["params.yaml", "requirements.lock", "stages", "src/synthplanes"]
    assert "/src/**/*.md" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()  # pages make no stage stale


def test_what_stages_really_import_lies_within_their_reach():
    """Every script is run far enough to import all that stands at its top; the digests must cover it."""
    program = ("import runpy, sys\n"
               "for script in sys.argv[1:]:\n"
               "    for name in [n for n in sys.modules if n.split('.')[0] == 'synthplanes']: del sys.modules[name]\n"
               "    runpy.run_path(script, run_name='stage')\n"
               "    print(script, *(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'synthplanes'))\n")
    result = subprocess.run([sys.executable, "-c", program, *map(str, SCRIPTS)], capture_output=True, text=True,
                            check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == len(SCRIPTS)
    for line in lines:
        script, *imported = map(Path, line.split())
        assert imported and set(imported) <= reach(script, SOURCE), script


def test_only_predict_opens_test_rows():
    for stage, entry in of_profiles().items():
        whole = [dep for dep in entry["deps"] if dep.rstrip("/").endswith("artifacts/prepared/${item.profile}")]
        test = [dep for dep in entry["deps"] if dep.endswith("/test")]
        assert not whole and (bool(test) == (stage == "predict")), stage


def test_no_stage_depends_on_its_own_output_or_on_the_log_of_test_access():
    for stage, entry in pipeline().items():
        assert not set(outputs(entry)) & set(entry.get("deps", [])), stage
        assert not [path for path in outputs(entry) if "test_access_log" in path], stage


def test_every_parameter_is_used_somewhere():
    """A field of `config` that no other module names (as an attribute, an argument, a field or a text) is dead."""
    config = PACKAGE / "protocol" / "config.py"

    def fields(tree: ast.AST) -> set[str]:
        return {line.target.id for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
                for line in node.body if isinstance(line, ast.AnnAssign)}
    named = set()
    for path in [*modules(), *SCRIPTS]:
        if path != config:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named |= fields(tree) | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            named |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
            named |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not sorted(fields(ast.parse(config.read_text(encoding="utf-8"))) - named)


def test_parameters_stay_few():
    """How many values a profile has, roles and options not counted."""
    def leaves(node: dict) -> int:
        return sum(leaves(value) if isinstance(value, dict) and value else 1 for name, value in node.items()
                   if name not in ("archs", "budgets", "optional_arms", "label_classifier"))
    assert leaves(resolved("phantom", ROOT / "params.yaml")) <= 90


def test_committed_results_are_those_of_dvc_lock():
    """Of every profile in dvc.lock, also where its code has moved on since (`verify` names its commit)."""
    published = [(path, digest) for entry in read_checkout(ROOT).stages.values() for path, digest in entry.outs.items()
                 if path.startswith("metrics/")]
    assert published and {path: md5(ROOT / path) for path, _ in published} == dict(published)


def test_dvc_lock_is_short_and_holds_no_profile_that_is_gone():
    stages = read_checkout(ROOT).stages.values()
    assert {entry.profile for entry in stages if entry.profile} <= set(read_names(ROOT / "params.yaml"))
    active = active_profile(ROOT / "params.yaml")
    assert {entry.stage for entry in stages if entry.profile == active} == {"protocol", *STAGES}
    lines = len((ROOT / "dvc.lock").read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES["dvc.lock"]
    one_profile = sum(len(block.splitlines()) for name, block in lock_blocks().items() if name.endswith(f"@{active}"))
    profiles = set(read_names(ROOT / "params.yaml")) - {"smoke"}  # which tests run in a copy
    assert one_profile * len(profiles) <= MOST_LINES["dvc.lock"]  # with all of them run


def lock_blocks() -> dict[str, str]:
    parts = re.split(r"(?m)^  (\S+):\n", (ROOT / "dvc.lock").read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2]))


def test_a_verdict_is_for_people():
    verdicts = list((ROOT / "metrics").glob("*/verdict.json"))
    assert verdicts
    for path in verdicts:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES["verdict.json"], path


def test_the_lock_agrees_with_the_direct_dependencies():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins = dict(re.findall(r'"([\w.-]+)==([\w.]+)"', project))
    lock = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", (ROOT / "requirements.lock").read_text(encoding="utf-8")))
    lock = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    assert pins and {name: lock.get(name) for name in pins} == pins
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_readme_and_ci_run_the_same_test_command():
    command = "pip install -c requirements.lock -e '.[test]' && pytest"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("ruff", "check", "src", "stages", "tests"), ("mypy",)], ids=("ruff", "mypy"))
def test_linters_are_clean(words):
    result = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
