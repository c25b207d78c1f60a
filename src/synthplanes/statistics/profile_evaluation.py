"""Evaluate a profile from its files: the predictions, the prepared tables, the audit and the analysis plan."""

from pathlib import Path

from synthplanes import records
from synthplanes.protocol.analysis_plan import settings_of
from synthplanes.protocol.cells import Cell
from synthplanes.statistics.evaluation import Results, evaluate
from synthplanes.statistics.predictions import read_origin, read_predictions
from synthplanes.statistics.test_access_log import check_plan, file_sha256


def prediction_files(cell: Cell) -> list[Path]:
    """Return the arrays of the profile's predictions, one per budget and architecture, sorted."""
    return [cell.paths.classifiers("predictions", budget, arch) / "probabilities.npy"
            for budget in sorted(cell.parameters.budgets) for arch in sorted(cell.parameters.archs)]


def evaluate_profile(cell: Cell) -> Results:
    """Return the results of a profile; predictions under another analysis plan raise `UserError`."""
    profile, paths = cell.parameters, cell.paths
    plan = file_sha256(paths.analysis_plan)
    predicted_under, platform = read_origin(paths.artifact("predictions") / "cell.json")
    check_plan(predicted_under, plan)
    classes = records.read_json(paths.prepared / "classes.json")
    predictions = [read_predictions([(arch, paths.classifiers("predictions", budget, arch)) for arch in profile.archs],
                                    classes) for budget in profile.budgets_by_size()]
    return evaluate(
        predictions, settings_of(profile), records.read_table(paths.prepared / "splits.csv", records.SPLITS),
        records.read_table(paths.prepared / "development" / "index.csv", records.INDEX),
        records.read_json(paths.artifact("audit") / profile.scarce_budget / "audit.json"),
        {"phantom": records.read_json(paths.artifact("simulated") / "phantom.json"),
         "analysis_plan": {"sha256": plan, "code": cell.code}, "platform": platform})
