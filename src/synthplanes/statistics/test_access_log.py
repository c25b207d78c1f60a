"""Log how often test rows are scored, and under which analysis plan.

`predict` records the digest of the analysis plan with its predictions. `evaluate` refuses predictions of another plan,
and logs how often, and under which plans, test rows are scored. A rule, margin or recipe that changes after test rows
were scored is visible in that log. The log is under version control, and no result depends on it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.records import TEST_ACCESS


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, as `sha256sum` prints it; a missing one raises `UserError`."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it first.") from None


def check_plan(predicted_under: str, plan_sha256: str) -> None:
    """Raise `UserError` where predictions belong to another analysis plan than the present one, by SHA-256."""
    if predicted_under != plan_sha256:
        raise UserError("Test rows were predicted under another analysis plan than the present one "
                        f"({predicted_under[:12]}, not {plan_sha256[:12]}): run predict again, which counts as another "
                        "access.")


def record(path: Path, plan_sha256: str, prediction_files: Sequence[Path]) -> None:
    """Record in the log `path` that the given predictions are scored under an analysis plan.

    Scoring the same predictions under the same plan again is no new access and leaves the log unchanged.
    """
    seen = hashlib.sha256()
    for file in prediction_files:
        seen.update(bytes.fromhex(file_sha256(file)))
    log = records.read_table(path, TEST_ACCESS) if Path(path).exists() else TEST_ACCESS.frame([])
    accesses = list(zip(log["analysis_plan"].tolist(), log["predictions"].tolist(), strict=True))
    if (access := (plan_sha256, seen.hexdigest())) not in accesses:
        accesses.append(access)
        records.write_table(path, TEST_ACCESS.frame(
            dict(access=number, analysis_plan=plan, predictions=predictions)
            for number, (plan, predictions) in enumerate(accesses, start=1)), TEST_ACCESS)
