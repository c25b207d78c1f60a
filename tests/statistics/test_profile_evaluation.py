"""A finished checkout is evaluated from its files alone, under its analysis plan alone."""

import json

import pytest

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import read_cell
from synthplanes.statistics.evaluation import SCHEMAS, write_results
from synthplanes.statistics.profile_evaluation import evaluate_profile, prediction_files
from tests import fake_checkout


@pytest.fixture
def root(tmp_path):
    return fake_checkout.make_checkout(tmp_path)


def test_results_are_those_on_file(root, tmp_path_factory):
    cell = read_cell("evaluate", fake_checkout.NAME, root)
    results = evaluate_profile(cell)
    write_results(again := tmp_path_factory.mktemp("again"), results)
    for name in SCHEMAS:
        assert (again / f"{name}.csv").read_bytes() == (cell.paths.metrics / f"{name}.csv").read_bytes(), name
    assert results.verdict["platform"] == fake_checkout.PLATFORM
    assert results.verdict["analysis_plan"]["code"] == cell.code
    assert results.verdict["phantom"] == {"version": "1", "sha256_of_frames": "ab"}
    assert results.summary == json.loads((cell.paths.metrics / "summary.json").read_text())
    assert (results.summary["label"], results.summary["copy"]) == (50.0, 16.7)
    assert [path.parts[-3:-1] for path in prediction_files(cell)] == [(fake_checkout.BUDGET, fake_checkout.ARCH)]


def test_predictions_under_another_plan_are_refused(root):
    cell = read_cell("evaluate", fake_checkout.NAME, root)
    records.write_json(cell.paths.analysis_plan, {"margin": 0.01})
    with pytest.raises(UserError, match="another analysis plan"):
        evaluate_profile(cell)
    cell.paths.analysis_plan.unlink()
    with pytest.raises(UserError, match="analysis_plan.json does not exist"):
        evaluate_profile(cell)
