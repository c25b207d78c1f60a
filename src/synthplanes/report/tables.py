"""Turn data frames into Markdown tables for the templates; without rows the result is empty.

A column is a function of its row, or `column|filter` with a filter of markdown.py. Where a profile has several budgets,
tables of details show the budget to which the verdict applies; the CSV files hold all budgets.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.protocol.words import CONFIDENCE
from synthplanes.report import markdown as md
from synthplanes.report.results import MEAN, Results, is_widest

Row = Mapping[str, Any]
FURTHER_SCORES = {"accuracy": "accuracy", "macro F1": "macro_f1", "macro AUROC": "macro_auroc",
                  "calibration error": "calibration_error"}
COMPONENTS = ("generator", "seed", "patient", "patient_x_generator", "patient_x_seed", "image", "image_x_generator",
              "image_x_seed")
RULES = {"majority": "always the most frequent training class",
         "scanner": "the class of which the image's scanner holds the largest share in training",
         "operator": "the class of which the image's operator holds the largest share in training"}
REMEDIES = {  # word of a refusal -> what to do
    "other information": "train a generator on the profile's own images alone (`train_diffusion.pretrained: null`)",
    "undertrained": "raise `recipe.stage_1_updates` and `recipe.stage_2_updates`",
    "unpaired": "train both arms with the same seeds",
    "too few repetitions": "raise `replication.seeds` or, where the generators are repeated, `replication.generators`",
    "too few patients": "bring more test patients, or test all by `prepare.cross_validation: patients`"}
# What the table of slices shows: two arms' scores, and differences to both references.
SLICED = ((REFERENCES[0], ""), (CONFIRMATORY_ARM, ""), *((CONFIRMATORY_ARM, reference) for reference in REFERENCES))


def grid(rows: pd.DataFrame, columns: Mapping[str, str | Callable[[Row], str]], place_at: int = 1) -> str:
    """Show one line per row and one column per header; budget and architecture stand at `place_at` where they vary."""
    cells = list(columns.items())
    place = {"budget": "budget" in rows and rows["budget"].nunique() > 1,
             "architecture": "arch" in rows and set(rows["arch"]) != {MEAN}}
    cells[place_at:place_at] = [(name, f"{name.removesuffix('itecture')}|escaped") for name in place if place[name]]
    return md.table([header for header, _ in cells], [[_cell(row, cell) for _, cell in cells]
                                                      for row in rows.to_dict("records")])


def _cell(row: Row, cell: str | Callable[[Row], str]) -> str:
    if callable(cell):
        return cell(row)
    name, _, form = cell.partition("|")
    return md.FILTERS[form](row[name])


def crossed(corner: str, cells: Mapping[tuple[str, Any], str], columns: Mapping[Any, str]) -> str:
    """Show a matrix of (row, column) -> text, rows in order of appearance; `columns` maps a column to its header."""
    return md.table([corner, *columns.values()], [[row, *(cells.get((row, column), "") for column in columns)]
                                                  for row in dict.fromkeys(row for row, _ in cells)])


def comparison(row: Row) -> str:
    """Name the two arms of a row."""
    return f"{md.code(row['arm'])} against {md.code(row['reference'])}"


def updates(row: Row) -> str:
    """Show how many updates the two arms of a row spend."""
    return f"{ARMS[row['arm']].updates} against {ARMS[row['reference']].updates}"


def word(row: Row) -> str:
    """Show a comparison's word; one of the naive comparison is marked."""
    return ("naive: " if row["role"] == "naive" else "") + md.escaped(row["word"])


def interval(row: Row) -> str:
    """Show a row's difference with its limits."""
    return md.difference(row["estimate"], row["low"], row["high"])


def score(row: Row) -> str:
    """Show a row's score with its limits."""
    return md.accuracy(row["estimate"], row["low"], row["high"]) if md.known(row["estimate"]) else "none"


def bootstrap(row: Row) -> str:
    """Show the limits of a row's bootstrap interval."""
    return md.between(row["bootstrap_low"], row["bootstrap_high"])


def images(row: Row) -> str:
    """Count a row's images and patients."""
    return f"{md.count(row['n_images'])} ({md.count(row['n_patients'])})"


def rule(row: Row) -> str:
    """Describe what a rule on metadata answers."""
    return RULES[row["rule"]]


def unequal(r: Results) -> str:
    """Name the comparisons whose arms spend different numbers of updates."""
    rows = r.contrasts.drop_duplicates(["arm", "reference"]).to_dict("records")
    return "; ".join(f"{comparison(row)} ({updates(row)})" for row in rows
                     if ARMS[row["arm"]].updates != ARMS[row["reference"]].updates)


def levels(r: Results) -> str:
    """Show balanced accuracy of every arm: by architecture or, where there are several budgets, by budget."""
    rows = r.primary("levels", "arm", "budget", "arch").dropna(subset="estimate")
    rows = rows[rows["budget"].isin(r.shares)]
    if len(r.shares) > 1:
        rows = rows[is_widest(rows, "budget", "arm")]
        return crossed("arm", {(_named(row), row["budget"]): score(row) for row in rows.to_dict("records")},
                       {budget: f"{100 * share:g} % of the patients" for budget, share in r.shares.items()})
    archs = sorted(set(rows["arch"]), key=lambda arch: (arch != MEAN, arch))
    return crossed("arm", {(md.code(row["arm"]), row["arch"]): score(row) for row in rows.to_dict("records")},
                   {arch: md.escaped(arch) if len(archs) > 1 else "balanced accuracy" for arch in archs})


def _named(row: Row) -> str:
    return md.code(row["arm"]) + ("" if row["arch"] == MEAN else f" ({md.escaped(row['arch'])})")


def further_scores(r: Results) -> str:
    """Show other scores of every arm at the verdict's budget, mean over its runs."""
    scores = r.tables["scores"].query("budget == @r.budget")
    means = scores.pivot_table(index="arm", columns="metric", values="value").reindex(ARMS).dropna(how="all")
    ran = scores.groupby("arm")["arch"].unique()
    every = scores["arch"].nunique()
    return grid(means.reset_index(), {
        "arm": lambda row: _named({"arm": row["arm"], "arch": MEAN if len(ran[row["arm"]]) == every
                                   else ", ".join(sorted(ran[row["arm"]]))}),
        **{header: f"{name}|percent" for header, name in FURTHER_SCORES.items()}})


def baselines(r: Results) -> str:
    """Show the gains of the real-data baselines, and whether synthetic images exceed them."""
    rows = r.contrasts.query("role == 'baseline'")
    against = {(row["budget"], row["reference"]): row for row in rows.to_dict("records")}

    def over(row: Row) -> str:
        return interval(against[row["budget"], row["arm"]])

    def beaten(row: Row) -> str:
        found = against[row["budget"], row["arm"]]
        if not md.known(found["estimate"]) or found["reason"]:
            return "unknown"
        return "yes" if found["word"].startswith("helps") else "no"

    return grid(rows.query("arm != @CONFIRMATORY_ARM"), {
        "baseline": "arm|code", "what it does": lambda row: ARMS[row["arm"]].question, "against `real`": interval,
        f"{md.code(CONFIRMATORY_ARM)} against it": over, "beaten by synthetic images": beaten}, place_at=2)


def slices(r: Results) -> str:
    """Show scores and differences within each slice at the verdict's budget."""
    rows = _sliced(r, r.budget)
    cells: dict[tuple[str, Any], str] = {(_slice(row), (row["arm"], row["reference"])): _unless_unknown(row)
                                         for row in rows}
    cells |= {(_slice(row), "images"): images(row) for row in rows}
    headers: dict[Any, str] = {"images": "images (patients)"}
    return crossed("slice", cells, headers | {
        pair: f"points against {md.code(pair[1])}" if pair[1] else f"{md.code(pair[0])}, %" for pair in SLICED})


def slices_by_budget(r: Results) -> str:
    """Show the difference to `real` within each slice, by budget; nothing where there is one budget."""
    return "" if len(r.shares) == 1 else crossed("slice", {
        (_slice(row), budget): _unless_unknown(row) for budget in r.shares for row in _sliced(r, budget)
        if row["reference"] == REFERENCES[0]}, {budget: f"{100 * share:g} %" for budget, share in r.shares.items()})


def _sliced(r: Results, budget: str) -> list[Row]:
    rows = r.tables["slices"].query("budget == @budget and arch == @MEAN").to_dict("records")
    return [row for row in rows if (row["arm"], row["reference"]) in SLICED]


def _slice(row: Row) -> str:
    kind = "scanners in training" if row["slice"] == "scanner_in_training" else row["slice"].replace("_", "-")
    return f"{kind}: {md.escaped(row['value'])}" + (f" ({row['in_training']})" if row["in_training"] else "")


def _unless_unknown(row: Row) -> str:
    return score(row) if not row["reference"] or not md.known(row["estimate"]) else interval(row)


def slices_by_chance(r: Results) -> tuple[int, int, float]:
    """Return how many slices' intervals exclude 0, how many there are, and how many would exclude 0 by chance."""
    rows = [row for row in _sliced(r, r.budget) if row["reference"] and md.known(row["low"])]
    return sum(row["low"] > 0 or row["high"] < 0 for row in rows), len(rows), (1 - CONFIDENCE) * len(rows)


def reasons(r: Results) -> list[str]:
    """List why slices have no number or no interval: one line per reason, with its slices."""
    named: dict[str, dict[str, None]] = {}
    for row in _sliced(r, r.budget):
        if row["why_no_number"]:
            what = "No interval" if md.known(row["estimate"]) else "No number"
            named.setdefault(f"{what} ({md.escaped(row['why_no_number'])})", {})[_slice(row)] = None
    return [f"{reason}: {', '.join(names)}." for reason, names in named.items()]


def components(r: Results) -> str:
    """Show standard deviations of the effects that make up the fair differences and their arms' scores."""
    fair = r.contrasts.query("role == 'confirmatory' and budget == @r.budget")
    names = {row["contrast"]: comparison(row) for row in fair.to_dict("records")} | {
        arm: md.code(arm) for arm in (REFERENCES[0], CONFIRMATORY_ARM)}
    rows = r.tables["components"].query("budget == @r.budget and arch in @fair.arch").to_dict("records")
    cells = {(shown, row["component"]): _component(row) for name, shown in names.items() for row in rows
             if row["contrast"] + row["arm"] == name}
    return crossed("difference or arm", cells, {name: name.replace("_", " ") for name in COMPONENTS
                                                if name in {row["component"] for row in rows}})


def _component(row: Row) -> str:
    if not md.known(row["standard_deviation"]):
        return "unknown"
    if row["clipped"]:
        return "0 (estimated below 0)"
    return md.percent(row["standard_deviation"]) + (f" ({100 * row['share']:.0f} %)" if md.known(row["share"]) else "")
