"""The report's parts on who gains: slices of the test images, and what can be told without their pixels."""

from synthplanes.report.markdown import accuracy, code, count, escaped, percent, points, prose, table
from synthplanes.statistics.clustered import CONFIDENCE
from synthplanes.statistics.contrasts import CONFIRMATORY_ARM, REFERENCES

_KINDS = {"class": "class", "scanner": "scanner", "scanner_in_training": "scanners by training",
          "operator": "operator", "sub_plane": "sub-plane"}
_RULES = {"majority": "always the most frequent training class",
          "scanner": "the class of which the image's scanner holds the largest share in training",
          "operator": "the class of which the image's operator holds the largest share in training"}


def slices(verdict: dict, budgets: list[str]) -> list[str]:
    """A table per budget; the levels of the further arms stand in verdict.json only."""
    parts = ["Scores and differences within slices: a class's recall in the slices of one class, balanced accuracy "
             "over all classes elsewhere, mean over architectures and seeds, with 95 % intervals. They describe: no "
             "slice was planned as a test, so there is no word and no p-value. The levels of all arms stand in "
             "`verdict.json`."]
    for budget in budgets:
        found = [row for row in verdict["slices"] if row["budget"] == budget and row["arch"] == "mean"]
        cell = {(row["slice"], row["value"], row["arm"], row["reference_arm"]): row for row in found}
        named = {(row["slice"], row["value"]): row for row in found}
        parts += [f"Budget {escaped(budget)}:",
                  table(["slice", "value", "images (patients)",
                         *(f"{code(arm)}, %" for arm in (REFERENCES[0], CONFIRMATORY_ARM)),
                         *(f"points against {code(name)}" for name in REFERENCES)],
                        [[_KINDS[kind], _value(row), f"{count(row['n_images'])} ({count(row['n_patients'])})",
                          *(_score(cell[kind, value, arm, None])
                            for arm in (REFERENCES[0], CONFIRMATORY_ARM)),
                          *(_difference(cell[kind, value, CONFIRMATORY_ARM, name])
                            for name in REFERENCES)]
                         for (kind, value), row in named.items()]),
                  _by_chance([row for row in found if row["reference_arm"] and row["low"] is not None])]
        if not verdict["plateau"][budget]["met"]:
            parts.append("The plateau gate of this budget is not met: a difference may be one of training time.")
        parts += _reasons(found)
    return parts


def metadata_baselines(verdict: dict) -> list[str]:
    """What rules reach that know how an image was made and not what it shows."""
    rows = [[escaped(row["budget"]), _RULES[row["rule"]], _score(row),
             percent(row["share_unseen"])] for row in verdict["metadata_baselines"]]
    return ["Balanced accuracy in per cent on the same test images, of rules learned from the labels of the budget's "
            "training images. A value that training has not seen gets the most frequent class.",
            table(["budget", "answer", "balanced accuracy, %", "unseen, % of images"], rows),
            *(f"No number: {prose(reason)}."
              for reason in sorted({row["why_no_number"] for row in verdict["metadata_baselines"]
                                    if row["estimate"] is None}))]


def _value(row: dict) -> str:
    return escaped(row["value"]) + (f" ({row['in_training']})" if row["in_training"] else "")


def _score(row: dict) -> str:
    return "none" if row["estimate"] is None else accuracy(row)


def _difference(row: dict) -> str:
    if row["low"] is None:
        return "none" if row["estimate"] is None else points(row["estimate"])
    return f"{points(row['estimate'])} ({points(row['low'])} to {points(row['high'])})"


def _by_chance(differences: list[dict]) -> str:
    """How many intervals do not hold 0, beside how many would not if no arm differed anywhere."""
    without = sum(row["low"] > 0 or row["high"] < 0 for row in differences)
    return (f"Intervals of a difference that do not hold 0: {without} of {len(differences)}; if nothing differed, "
            f"chance alone would give about {(1 - CONFIDENCE) * len(differences):.1f}." if differences else "")


def _reasons(found: list[dict]) -> list[str]:
    """Why numbers or their intervals are missing, one line per reason."""
    slices_of: dict[str, dict[str, None]] = {}
    for row in found:
        if row["why_no_number"] and row["arm"] in (CONFIRMATORY_ARM, REFERENCES[0]):
            what = "No number" if row["estimate"] is None else "No interval"
            slices_of.setdefault(f"{what} ({escaped(row['why_no_number'])})", {})[
                f"{_KINDS[row['slice']]} {_value(row)}"] = None
    return [f"{reason}: {', '.join(names)}." for reason, names in slices_of.items()]
