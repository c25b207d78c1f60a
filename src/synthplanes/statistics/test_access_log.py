"""How often test rows were opened, and by which analysis plan.

`predict` notes the digest of the plan beside its predictions; `evaluate` refuses predictions of another plan, and keeps
a ledger of how often, and under how many plans, test rows were scored. A rule, margin or recipe that was changed
after a look shows there.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.records import Schema, Table

# One row per scoring of test rows: by which plan, and a digest of the predictions.
OPENINGS = Schema("openings.csv", dict(opening=int, analysis_plan=str, predictions=str))


def digest(path: Path, stage: str = "plan") -> str:
    """SHA-256 of a file that `stage` writes, in hexadecimal."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage {stage}, which writes it, first.") from None


def refuse_other_plans(cells: Sequence[Path], plan: str) -> None:
    """Raise `UserError` where a cell.json of predictions notes another plan than that of digest `plan`."""
    for path in cells:
        if records.read_json(path).get("analysis_plan") != plan:
            raise UserError(f"{path}: test rows were predicted under another analysis plan than the present one: run "
                            "predict again, which counts as another opening.")


def count_opening(path: Path, plan: str, predictions: Sequence[Path]) -> dict:
    """Note in the ledger `path` that these prediction files were scored under the plan of digest `plan`.

    Scoring the same predictions under the same plan again is no new look and leaves the ledger as it is. Returns
    what the verdict says of it: the plan's digest, how often test rows were scored, and under how many plans.
    """
    seen = hashlib.sha256()
    for one in predictions:
        seen.update(hashlib.sha256(Path(one).read_bytes()).digest())
    ledger = records.read_table(path, OPENINGS) if Path(path).exists() else Table.of_rows(OPENINGS, [])
    pairs = list(zip(ledger["analysis_plan"].tolist(), ledger["predictions"].tolist()))
    if (plan, seen.hexdigest()) not in pairs:
        pairs.append((plan, seen.hexdigest()))
        records.write_table(path, Table.of_rows(OPENINGS, [
            dict(opening=number, analysis_plan=its_plan, predictions=its_predictions)
            for number, (its_plan, its_predictions) in enumerate(pairs, start=1)]))
    return {"digest": plan, "openings": len(pairs), "plans": len({its_plan for its_plan, _ in pairs})}
