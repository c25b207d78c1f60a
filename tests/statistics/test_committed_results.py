"""The committed results of every profile have the form that the code writes, and agree with each other."""

import json
from pathlib import Path

import pytest

from synthplanes import records
from synthplanes.protocol.words import FINDINGS, OTHERWISE, REFUSALS
from synthplanes.statistics.evaluation import SCHEMAS, evaluate
from tests.statistics.selecting import only
from tests.statistics.test_evaluation import settings_for

METRICS = Path(__file__).resolve().parents[2] / "metrics"
FOLDERS = sorted(path.parent for path in METRICS.glob("*/verdict.json"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def results(request):
    """Return (folder, table by name, verdict, summary) of one profile."""
    folder = request.param
    tables = {name: records.read_table(folder / f"{name}.csv", schema) for name, schema in SCHEMAS.items()
              if (folder / f"{name}.csv").exists()}
    return folder, tables, *(json.loads((folder / f"{name}.json").read_text()) for name in ("verdict", "summary"))


def test_there_are_results():
    assert {folder.name for folder in FOLDERS} >= {"phantom", "phantom_full", "african", "african_cv"}


def test_the_form_is_that_of_the_code(results, world):
    folder, tables, verdict, summary = results
    made = evaluate([world()], settings_for(world()))
    assert set(tables) >= set(SCHEMAS) - {"confusion"}
    assert set(verdict) == {"overall", "convergence", "phantom", "analysis_plan", "platform"}
    assert set(verdict["overall"]) == set(made.verdict["overall"]) and set(summary) == set(made.summary)
    assert all(set(check) == {"gain", "standard_error", "limit", "met"} for check in verdict["convergence"].values())
    assert len((folder / "verdict.json").read_text().splitlines()) <= 100


def test_the_files_agree(results):
    folder, tables, verdict, summary = results
    overall = verdict["overall"]
    assert {*tables["contrasts"]["word"], overall["word"]} <= {*REFUSALS, *FINDINGS, OTHERWISE[0]}
    assert summary["word"] == overall["word"] and summary["n"] == overall["n_patients"]
    assert summary["points"] == pytest.approx(100 * overall["estimate"], abs=.051)
    assert summary["conv"] == ("yes" if verdict["convergence"][overall["budget"]]["met"] else "no")
    for budget, check in verdict["convergence"].items():
        row = only(tables["convergence"], budget=budget, arch="mean")
        assert (row["gain"], row["met"]) == (check["gain"], check["met"])
    pair = tables["contrasts"][tables["contrasts"]["confirmatory"]]
    assert pair["reference"].tolist() == overall["reference_arms"] and (pair["arm"] == overall["arm"]).all()
    assert pair["estimate"].min() == overall["estimate"]
    means = tables["scores"].groupby(["budget", "arm", "arch", "metric"])["value"].mean()
    level = only(tables["levels"], budget=overall["budget"], arm="real", metric="balanced_accuracy", arch="mean")
    assert level["estimate"] == pytest.approx(
        means[overall["budget"], "real"].xs("balanced_accuracy", level="metric").mean(), abs=2e-6)
    log = records.read_table(folder / "test_access_log.csv", records.TEST_ACCESS)
    assert verdict["analysis_plan"]["sha256"] in log["analysis_plan"].tolist()
