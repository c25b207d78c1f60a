"""The whole pipeline, really run: `smoke` twice in two places gives the same dvc.lock."""

import html
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from synthplanes import records
from synthplanes.protocol.cells import STAGES
from synthplanes.protocol.profiles import active_profile
from synthplanes.reproduction.checkout import read_checkout

sys.path.insert(0, str(Path(__file__).parent))
from checkout import ROOT, copy_project, dvc, run_smoke  # noqa: E402

TABLES = {"scores": records.SCORES, "contrasts": records.CONTRASTS, "levels": records.LEVELS, "slices": records.SLICES,
          "components": records.COMPONENTS, "convergence": records.CONVERGENCE, "controls": records.CONTROLS,
          "oracle_shares": records.ORACLE_SHARES, "metadata_rules": records.METADATA_RULES, "folds": records.FOLDS,
          "confusion": records.CONFUSION, "generator_curve": records.GENERATOR_CURVE, "audit": records.AUDIT,
          "test_access_log": records.TEST_ACCESS}
OTHERS = {"summary.json", "verdict.json", "data.json", "cost.json", "analysis_plan.json", "report.md",
          "real_and_synthetic.png", "contrasts.png", "learning.png", "learning_curves.png"}


def test_twice_the_same_lock(smoke, tmp_path):
    again = run_smoke(tmp_path / "two")
    first, second = ((folder / "dvc.lock").read_text(encoding="utf-8") for folder in (smoke, again))
    assert first == second


def test_every_stage_ran_once(smoke):
    assert sorted(read_checkout(smoke).stages) == sorted(f"{stage}@smoke" for stage in ("protocol", *STAGES))


def test_a_second_repro_runs_nothing(smoke):
    result = dvc(smoke, "repro")
    assert result.returncode == 0 and "Running stage" not in result.stdout


def test_results_are_tidy_tables_that_pandas_reads_alone(smoke):
    folder = smoke / "metrics" / "smoke"
    assert {path.name for path in folder.iterdir()} == {f"{name}.csv" for name in TABLES} | OTHERS
    for name, schema in TABLES.items():
        assert list(pd.read_csv(folder / f"{name}.csv").columns) == list(schema.columns), name
    contrasts = pd.read_csv(folder / "contrasts.csv")
    assert {"fair", "naive", "joint", "oracle", "oracle_joint", "resampled"} <= set(contrasts["contrast"])
    assert set(contrasts.query("confirmatory")["contrast"]) == {
        "fair", "fair_two_stage", "joint", "joint_two_stage", "joint_duplicate"}
    convergence = pd.read_csv(folder / "convergence.csv")
    assert convergence["reference"].tolist() == ["real", "real_two_stage", "duplicate_joint"]
    audit = json.loads((smoke / "artifacts" / "audit" / "smoke" / "scarce" / "audit.json").read_text(encoding="utf-8"))
    whole = pd.read_csv(folder / "audit.csv").query("label == 'all'")
    assert whole["label_fidelity"].tolist() == [audit["replicates"][0]["label_fidelity"]["mean_over_classes"]]


def test_summary_verdict_and_report_say_the_same(smoke):
    folder = smoke / "metrics" / "smoke"
    summary, verdict = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
                        for name in ("summary", "verdict"))
    assert summary["word"] == verdict["overall"]["word"] and "on simulated images" in verdict["overall"]["sentence"]
    assert verdict["phantom"]["version"] and verdict["platform"]["instructions"] == "avx2"
    assert list(verdict["hypotheses"]) == ["joint", "paper_order"]
    assert all(judged["sentence"] in verdict["overall"]["sentence"] for judged in verdict["hypotheses"].values())
    assert len((folder / "verdict.json").read_text(encoding="utf-8").splitlines()) <= 100
    report = (folder / "report.md").read_text(encoding="utf-8")
    for judged in verdict["hypotheses"].values():
        assert f"**{judged['sentence']}**" in html.unescape(report)


@pytest.mark.parametrize("words", [("metrics", "show"), ("status",), ("dag", "--collapse-foreach-matrix", "--md")])
def test_dvcs_own_views_work_and_the_metrics_fit_a_screen(smoke, words):
    result = dvc(smoke, *words)
    assert result.returncode == 0, result.stderr[-2000:]
    if words[0] == "metrics":
        assert "word" in result.stdout and max(map(len, result.stdout.splitlines())) <= 120


def test_dvc_draws_its_plots(smoke, tmp_path):
    result = dvc(smoke, "plots", "show", "--json", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr[-2000:]
    drawn = json.loads(result.stdout)["data"]
    assert {"contrasts", "levels", "generator_curve", "confusion"} <= set(drawn)
    for name in ("contrasts", "levels", "generator_curve", "confusion"):
        assert "vega" in drawn[name][0]["content"]["$schema"], name


def test_no_trace_of_the_machine_in_tracked_files(smoke):
    for path in [smoke / "dvc.lock", *(smoke / "metrics" / "smoke").iterdir()]:
        content = path.read_bytes()
        assert str(smoke).encode() not in content and str(ROOT).encode() not in content, path


def test_a_broken_parameter_stops_with_one_sentence(tmp_path):
    folder = copy_project(tmp_path, "smoke")
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("      margin: 0.02 ", "      margins: 0.02\n      margin: 0.02 ")
    params.write_text(text, encoding="utf-8")
    result = dvc(folder, "repro")
    assert result.returncode != 0 and "margins: is not a known key" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_committed_lock_fits_code_and_parameters(tmp_path):
    """For the active profile nothing is left to run: the committed results come from this code."""
    folder = copy_project(tmp_path, active_profile(ROOT / "params.yaml"))
    result = dvc(folder, "repro", "--dry", "--allow-missing")
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Running stage" not in result.stdout, result.stdout[:2000]
