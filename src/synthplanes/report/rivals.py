"""The rivals' part of the report: what else can be had from the same real images at the same number of updates."""

from synthplanes.protocol.arms import ARMS
from synthplanes.report.markdown import code, escaped, points, table
from synthplanes.statistics.contrasts import CONFIRMATORY_ARM


def rivals(main: list[dict]) -> list[str]:
    """`main` are the records of each contrast's widest scope, in balanced accuracy (records of verdict.json)."""
    found = {(record["budget"], record["arm"], record["reference_arm"]): record for record in main
             if record["role"] == "rival"}
    own = [key for key in found if key[1] != CONFIRMATORY_ARM]
    if not own:
        return ["This profile runs no rivals."]
    rows = []
    for budget, arm, reference in own:
        record, over = found[budget, arm, reference], found.get((budget, CONFIRMATORY_ARM, arm))
        rows.append([code(arm), ARMS[arm].question.removeprefix("rival: "), escaped(budget), escaped(record["arch"]),
                     _difference(record), _difference(over), _still_beaten(over)])
    return ["Rivals hold the same information as `real`, spend the same updates and make no images. Does the synthetic set "
            "still beat them?",
            table(["rival", "what it does", "budget", "architecture", f"against {code('real')}",
                   f"{code(CONFIRMATORY_ARM)} against it", "still beaten"], rows)]


def _difference(record: dict | None) -> str:
    if record is None or record["estimate"] is None:
        return "unknown"
    return f"{points(record['estimate'])} ({points(record['low'])} to {points(record['high'])})"


def _still_beaten(record: dict | None) -> str:
    if record is None or record["estimate"] is None or record["reason"]:
        return "unknown"
    return "yes" if record["verdict"].startswith("helps") else "no"
