"""The committed results of every profile have the form that the code writes, and agree with each other."""

import json
from pathlib import Path

import pytest

from synthplanes import records
from synthplanes.protocol.contrasts import HYPOTHESES, LONGER
from synthplanes.protocol.words import FAMILY_LEVEL, FINDINGS, OTHERWISE, REFUSALS
from synthplanes.statistics.clustered import Interval
from synthplanes.statistics.convergence import why_unconverged
from synthplanes.statistics.evaluation import SCHEMAS, evaluate
from synthplanes.statistics.hypotheses import Case, decide
from synthplanes.statistics.verdict import Evidence, judge
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
    assert {folder.name for folder in FOLDERS} >= {"phantom"}


def test_the_form_is_that_of_the_code(results, world):
    folder, tables, verdict, summary = results
    made = evaluate([world()], settings_for(world()))
    assert set(tables) == set(SCHEMAS)
    assert set(verdict) == {"overall", "hypotheses", "converged", "phantom", "analysis_plan", "platform"}
    assert set(verdict["overall"]) == set(made.verdict["overall"]) and set(summary) == set(made.summary)
    for hypothesis in verdict["hypotheses"].values():
        assert set(hypothesis) == set(made.verdict["hypotheses"]["paper_order"])
    assert len((folder / "verdict.json").read_text().splitlines()) <= 100


def test_the_files_agree(results):
    folder, tables, verdict, summary = results
    overall, hypotheses = verdict["overall"], verdict["hypotheses"]
    paper = hypotheses["paper_order"]
    assert {*tables["contrasts"]["word"], *(each["word"] for each in hypotheses.values())} <= {
        *REFUSALS, *FINDINGS, OTHERWISE[0]}
    assert summary["word"] == overall["word"] == paper["word"] and summary["n"] == overall["n_patients"]
    assert summary["points"] == pytest.approx(100 * paper["against"]["real_two_stage"]["estimate"], abs=.051)
    converged = dict(verdict["converged"])
    curve = records.read_table(folder / "generator_curve.csv", records.GENERATOR_CURVE)
    assert converged.pop("generators") == (why_unconverged(curve[curve["budget"] == overall["budget"]]) == "")
    for reference, met in converged.items():
        assert only(tables["convergence"], budget=overall["budget"], reference=reference, arch="mean")["met"] == met
    own = tables["contrasts"][tables["contrasts"]["confirmatory"]]
    against = {(each["arm"], reference): limits for each in hypotheses.values()
               for reference, limits in each["against"].items()}
    assert set(zip(own["arm"], own["reference"], strict=True)) == set(against)
    for row in own.to_dict("records"):
        assert {name: row[name] for name in ("estimate", "low", "high")} == against[row["arm"], row["reference"]]
    means = tables["scores"].groupby(["budget", "arm", "arch", "metric"])["value"].mean()
    level = only(tables["levels"], budget=overall["budget"], arm="real", metric="balanced_accuracy", arch="mean")
    assert level["estimate"] == pytest.approx(
        means[overall["budget"], "real"].xs("balanced_accuracy", level="metric").mean(), abs=2e-6)
    log = records.read_table(folder / "test_access_log.csv", records.TEST_ACCESS)
    assert verdict["analysis_plan"]["sha256"] in log["analysis_plan"].tolist()


def test_the_words_are_those_of_the_rules(results):
    """Every word follows from the numbers in its own row, for rows that no other evidence refuses."""
    _, tables, verdict, _ = results
    for row in tables["contrasts"].to_dict("records"):
        if row["word"] in FINDINGS or row["word"] == OTHERWISE[0]:
            interval = Interval(**{name: row[name] for name in Interval.__dataclass_fields__})
            may_differ = row["confirmatory"] or row["p_value_holm"] <= FAMILY_LEVEL
            assert row["word"] == judge(Evidence(interval, verdict["overall"]["margin"]), may_differ).word, row


def test_the_hypotheses_are_decided_from_the_committed_contrasts(results):
    """Today's rules, on the numbers of contrasts.csv, give every hypothesis its committed word and p-value."""
    _, tables, verdict, _ = results
    overall = verdict["overall"]
    asked = [each for each in HYPOTHESES if each.name in verdict["hypotheses"]]

    def evidence(arm, reference, archs):
        scope = archs[0] if len(archs) == 1 and archs != overall["archs"] else "mean"
        row = only(tables["contrasts"], budget=overall["budget"], metric=overall["metric"], arm=arm,
                   reference=reference, arch=scope)
        interval = Interval(**{name: row[name] for name in Interval.__dataclass_fields__})
        unmet = reference in LONGER and not verdict["converged"].get(reference, False)
        return Evidence(interval, overall["margin"], why_undertrained="not shown to have converged" if unmet else "",
                        why_unconverged="" if verdict["converged"]["generators"] else "still learning")

    cases = [Case(each, {name: evidence(each.arm, name, verdict["hypotheses"][each.name]["archs"])
                         for name in (*each.references, *each.harm_also)}) for each in asked]
    for hypothesis, decision in zip(asked, decide(cases), strict=True):
        committed = verdict["hypotheses"][hypothesis.name]
        assert committed["word"] == decision.judgement.word
        assert [committed["p_value"], committed["p_value_holm"]] == pytest.approx(
            [decision.p_value, decision.p_value_holm], abs=1e-4)
