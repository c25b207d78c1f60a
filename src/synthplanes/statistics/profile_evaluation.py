"""Evaluate a profile from its files, under its analysis plan, and log how often its test rows are scored.

`predict` records the digest of the analysis plan with its predictions, and predictions of another plan are refused. A
rule, margin or recipe that changes after test rows were scored is visible in the log, which is under version control.
No result depends on it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.analysis_plan import settings_of
from synthplanes.protocol.cells import Cell
from synthplanes.records import TEST_ACCESS
from synthplanes.statistics.evaluation import Audited, Results, evaluate
from synthplanes.statistics.predictions import read_predictions

PLATFORM = {"instructions": str, "threads": int, "torch": str, "capability": str}  # what decides the last bits


def prediction_files(cell: Cell) -> list[Path]:
    """Return the arrays of the profile's predictions, one per budget and architecture, sorted."""
    return [cell.paths.classifiers("predictions", budget, arch) / "probabilities.npy"
            for budget in sorted(cell.parameters.budgets) for arch in sorted(cell.parameters.archs)]


def evaluate_profile(cell: Cell) -> Results:
    """Return the results of a profile; predictions under another analysis plan raise `UserError`."""
    profile, paths = cell.parameters, cell.paths
    plan = file_sha256(paths.analysis_plan)
    predicted_under, platform = read_origin(paths.artifact("predictions") / "cell.json")
    if predicted_under != plan:
        raise UserError("Test rows were predicted under another analysis plan than the present one "
                        f"({predicted_under[:12]}, not {plan[:12]}): run predict again, which counts as another "
                        "access.")
    classes = records.read_json(paths.prepared / "classes.json")
    predictions = [read_predictions([(arch, paths.classifiers("predictions", budget, arch)) for arch in profile.archs],
                                    classes) for budget in profile.budgets_by_size()]
    return evaluate(
        predictions, settings_of(profile), records.read_table(paths.prepared / "splits.csv", records.SPLITS),
        records.read_table(paths.prepared / "development" / "index.csv", records.INDEX),
        Audited(records.read_json(paths.artifact("audit") / profile.scarce_budget / "audit.json"),
                records.read_table(paths.metrics / "generator_curve.csv", records.GENERATOR_CURVE)),
        {"phantom": records.read_json(paths.artifact("simulated") / "phantom.json"),
         "analysis_plan": {"sha256": plan, "code": cell.code}, "platform": platform})


def read_origin(path: Path) -> tuple[str, dict[str, Any]]:
    """Read from a profile's cell.json the SHA-256 of the analysis plan of its predictions, and the platform.

    A missing or ill-formed file raises `UserError`.
    """
    content = records.read_json(path)
    content = content if isinstance(content, dict) else {}
    plan, platform = content.get("analysis_plan"), content.get("platform")
    if not isinstance(plan, str) or not isinstance(platform, dict) or {
            name: type(value) for name, value in platform.items()} != PLATFORM:
        raise UserError(f"{path} names no analysis plan or no platform: run predict again.")
    return plan, platform


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, as `sha256sum` prints it; a missing one raises `UserError`."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it first.") from None


def log_access(path: Path, plan_sha256: str, prediction_files: Sequence[Path]) -> None:
    """Record in the log `path` that the given predictions are scored under an analysis plan.

    Scoring the same predictions under the same plan again is no new access and leaves the log unchanged.
    """
    seen = hashlib.sha256(b"".join(bytes.fromhex(file_sha256(file)) for file in prediction_files)).hexdigest()
    log = records.read_table(path, TEST_ACCESS) if path.exists() else TEST_ACCESS.frame([])
    if not ((log["analysis_plan"] == plan_sha256) & (log["predictions"] == seen)).any():
        accesses = [*log.to_dict("records"), dict(analysis_plan=plan_sha256, predictions=seen)]
        records.write_table(path, TEST_ACCESS.frame(
            {**access, "access": number} for number, access in enumerate(accesses, start=1)), TEST_ACCESS)
