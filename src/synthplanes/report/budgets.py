"""The low-data part of the report: what every arm reaches with how many of the training patients."""

from collections.abc import Mapping

from synthplanes.protocol.arms import ARMS
from synthplanes.report.markdown import accuracy, code, escaped, table

METRIC = "balanced_accuracy"


def by_share(budgets: Mapping[str, float]) -> list[str]:
    """The names of the budgets, the smallest share of the training patients first."""
    return sorted(budgets, key=lambda name: (budgets[name], name))


def by_arm(verdict: dict, budgets: Mapping[str, float]) -> dict[str, dict[float, dict]]:
    """arm -> share of the training patients -> level of verdict.json, in the protocol's order of arms.

    `budgets` maps a budget's name to its share. The level is the mean of architectures where there is one; an arm of
    single architectures has a curve for each, named so.
    """
    found: dict[tuple[str, str], dict[float, dict]] = {}
    for level in verdict["levels"]:
        if level["metric"] == METRIC and level["budget"] in budgets and level["estimate"] is not None:
            found.setdefault((level["arm"], level["arch"]), {})[budgets[level["budget"]]] = level
    averaged = {arm for arm, arch in found if arch == "mean"}
    order = list(ARMS)
    return {arm if arch == "mean" else f"{arm}, {arch}": dict(sorted(found[arm, arch].items()))
            for arm, arch in sorted(found, key=lambda key: (order.index(key[0]), key[1]))
            if arch == "mean" or arm not in averaged}


def low_data(verdict: dict, budgets: Mapping[str, float]) -> list[str]:
    """The table of it; nothing where the profile has one budget."""
    if len(budgets) < 2:
        return []
    shares = sorted(set(budgets.values()))
    return ["## With fewer patients", "Balanced accuracy in per cent with its 95 % interval, by the share of the training "
            "patients that arm, generator and validation had together. Every budget has generators of its own.",
            table(["arm", *(f"{100 * share:g} %" for share in shares)],
                  [[_named(name), *(accuracy(levels[share]) if share in levels else "" for share in shares)]
                   for name, levels in by_arm(verdict, budgets).items()])]


def _named(curve: str) -> str:
    arm, _, arch = curve.partition(", ")
    return code(arm) + (f" ({escaped(arch)})" if arch else "")
