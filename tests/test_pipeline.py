"""The whole pipeline, really run: `smoke` twice in two places gives the same dvc.lock."""

import html
import json
import sys
from pathlib import Path

from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parent))
from checkout import ROOT, copy_project, dvc, run_smoke  # noqa: E402

CELLS = {"fingerprint": 1, "simulate": 1, "prepare": 1, "train_diffusion": 1, "train_guide": 1, "sample": 1, "audit": 1, "baseline": 3,
         "pretrain": 3, "finetune": 3, "joint": 3, "plan": 1, "predict": 3, "evaluate": 1, "report": 1}


def test_twice_the_same_lock(smoke, tmp_path):
    again = run_smoke(tmp_path / "two")
    one, two = ((folder / "dvc.lock").read_text(encoding="utf-8") for folder in (smoke, again))
    assert one == two


def test_every_stage_ran_in_every_cell(smoke):
    cells = YAML(typ="safe", pure=True).load((smoke / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    found = {}
    for cell in cells:
        stage = cell.split("@")[0]
        found[stage] = found.get(stage, 0) + 1
    assert found == CELLS


def test_a_second_repro_runs_nothing(smoke):
    result = dvc(smoke, "repro")
    assert result.returncode == 0 and "Running stage" not in result.stdout


def test_metrics_hold_what_they_promise(smoke):
    metrics = smoke / "metrics" / "smoke"
    assert {path.name for path in metrics.iterdir()} == {"data.json", "audit_scarce.json", "analysis_plan.json", "openings.csv",
                                                         "scores.csv", "verdict.json", "cost.json", "report.md"}
    audit, found = json.loads((metrics / "audit_scarce.json").read_text(encoding="utf-8")), json.loads(
        (smoke / "artifacts" / "audit" / "smoke" / "scarce" / "audit.json").read_text(encoding="utf-8"))["replicates"]
    assert audit["label_fidelity"] == found[0]["label_fidelity"]["mean_over_classes"] and audit["generators"] == len(found)
    verdict = json.loads((metrics / "verdict.json").read_text(encoding="utf-8"))
    promised = {"source", "budget", "arch", "metric", "contrast", "reference_arm", "estimate", "low", "high", "p_value",
                "n_seeds", "n_generators", "n_patients", "n_images", "smallest_visible_effect", "verdict"}
    assert all(promised <= set(record) for record in verdict["records"])
    assert "on simulated images" in verdict["overall"]["sentence"] and verdict["phantom"]["version"]
    report = (metrics / "report.md").read_text(encoding="utf-8")
    assert verdict["overall"]["sentence"].rstrip(".") in html.unescape(report)  # p < 0.001 stands escaped


def test_no_trace_of_the_machine_in_tracked_files(smoke):
    for path in [smoke / "dvc.lock", *(smoke / "metrics" / "smoke").iterdir()]:
        text = path.read_text(encoding="utf-8")
        assert str(smoke) not in text and str(ROOT) not in text, path


def test_a_broken_parameter_stops_with_one_sentence(tmp_path):
    folder = copy_project(tmp_path, "smoke")
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("      margin: 0.02 ", "      margins: 0.02\n      margin: 0.02 ")
    params.write_text(text, encoding="utf-8")
    result = dvc(folder, "repro")
    assert result.returncode != 0 and "margins: is not a known key" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_committed_lock_fits_code_and_parameters(tmp_path):
    """For the active profiles nothing is left to run: the committed results come from this code."""
    active = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))["profile"]
    folder = copy_project(tmp_path, ", ".join(active))
    result = dvc(folder, "repro", "--dry", "--allow-missing")
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Running stage" not in result.stdout, result.stdout[:2000]
