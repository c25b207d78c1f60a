"""The plan says what decides, and the ledger counts every look under every plan once."""

import json

import pytest

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import analysis_plan
from synthplanes.statistics.test_access_log import OPENINGS, count_opening, digest, refuse_other_plans
from synthplanes.protocol.settings import Settings

CELLS = frozenset((arm, arch, "scarce", 0, seed) for arm in ("real", "synthetic_then_real") for arch in ("a", "b")
                  for seed in range(3))
PROTOCOL = {"recipe": {"stage_1_updates": 40}}


def settings(**changes) -> Settings:
    return Settings(**(dict(source="phantom", simulated=True, margin=0.02, scarce_budget="scarce", expected=CELLS,
                            root_seed=1) | changes))


def written(folder, **changes):
    path = folder / "analysis_plan.json"
    records.write_json(path, analysis_plan(settings(**changes), PROTOCOL))
    return path


def test_the_plan_names_hypothesis_margin_words_and_runs(tmp_path):
    plan = json.loads(written(tmp_path).read_text())
    assert plan["hypothesis"]["arm"] == "synthetic_then_real"
    assert plan["hypothesis"]["references"] == ["real", "real_two_stage"]
    assert plan["hypothesis"]["architectures"] == ["a", "b"]
    assert plan["margin"] == 0.02 and plan["gate"]["allowed_gain"] == 0.01
    assert [row["word"] for row in plan["words"]][-3:] == ["equivalent", "no worthwhile gain", "inconclusive"]
    assert {"arm": "real", "arch": "b", "budget": "scarce", "number": 3} in plan["runs"]
    assert plan["protocol"] == PROTOCOL


@pytest.mark.parametrize("changes", [dict(margin=0.01), dict(root_seed=2), dict(scarce_budget="full"),
                                     dict(expected=CELLS | {("real", "a", "scarce", 0, 3)}), dict(simulated=False)])
def test_another_plan_has_another_digest(tmp_path, changes):
    (tmp_path / "other").mkdir()
    assert digest(written(tmp_path)) != digest(written(tmp_path / "other", **changes))


def test_with_several_generators_they_are_the_unit():
    several = frozenset((arm, arch, budget, 1, seed) for arm, arch, budget, _, seed in CELLS) | CELLS
    assert analysis_plan(settings(), PROTOCOL)["hypothesis"]["unit_of_repetition"] == "classifier seed"
    assert analysis_plan(settings(expected=several), PROTOCOL)["hypothesis"]["unit_of_repetition"] == "generator"


def test_the_ledger_counts_looks_and_plans(tmp_path):
    ledger, one, other = tmp_path / "openings.csv", tmp_path / "one.npy", tmp_path / "other.npy"
    one.write_bytes(b"1"), other.write_bytes(b"2")
    found = [count_opening(ledger, plan, predictions) for plan, predictions in
             (("p", [one]), ("p", [one]), ("p", [other]), ("q", [other]), ("p", [one]), ("q", [one, other]))]
    assert [(row["openings"], row["plans"]) for row in found] == [(1, 1), (1, 1), (2, 1), (3, 2), (3, 2), (4, 2)]
    assert records.read_table(ledger, OPENINGS)["opening"].tolist() == [1, 2, 3, 4]


def test_predictions_of_another_plan_are_refused(tmp_path):
    cell = tmp_path / "cell.json"
    records.write_json(cell, {"analysis_plan": "p"})
    refuse_other_plans([cell], "p")
    with pytest.raises(UserError, match="another analysis plan"):
        refuse_other_plans([cell], "q")
    records.write_json(cell, {})
    with pytest.raises(UserError, match="another analysis plan"):
        refuse_other_plans([cell], "p")


def test_a_missing_plan_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="run the stage plan"):
        digest(tmp_path / "analysis_plan.json")
