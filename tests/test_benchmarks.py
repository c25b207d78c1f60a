"""Every benchmark can still be imported and says how it is run; each is run for its numbers, by hand or by DVC."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))
PARTS = {"diffusers_script", "image_statistics", "measured", "min_snr", "simulated_worlds"}  # imported, not run
HEAVY = {"numpy", "pandas", "scipy", "torch", "joblib"}  # they load numpy

scripts = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def imports_of(script: Path) -> list[str]:
    """The names of the packages that a script imports, in order."""
    names = []
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module).split(".")[0])
    return names


@scripts
def test_a_benchmark_is_imported_and_says_how_it_is_run(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # where a script finds its neighbours
    names = runpy.run_path(str(script), run_name="imported")
    assert ("main" in names) == (script.stem not in PARTS)
    if "main" in names:
        monkeypatch.setattr(sys, "argv", [str(script), "--help"])
        with pytest.raises(SystemExit) as end:
            names["main"]()
        assert end.value.code == 0
        assert f"python tests/benchmarks/{script.name}" in capsys.readouterr().out


@scripts
def test_the_cpu_instructions_are_fixed_before_numpy_loads(script):
    imported = imports_of(script)
    if HEAVY & set(imported):
        first = min(imported.index(name) for name in HEAVY & set(imported))
        assert "synthplanes" in imported[:first]


@scripts
def test_no_argument_list_is_beyond_six(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([a for a in arguments if a != "self"]) <= 6, node.name
