"""Turn tables of results into what the templates show; a Markdown table without rows is empty.

Where a profile has several budgets, tables of details show the budget to which the verdict applies; the CSV files hold
all budgets.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.report import markdown as md
from synthplanes.report.results import MEAN, Results, is_widest

COMPONENTS = ("generator", "seed", "patient", "patient_x_generator", "patient_x_seed", "image", "image_x_generator",
              "image_x_seed")
REMEDIES = {  # word of a refusal -> what to do
    "other information": "train a generator on the profile's own images alone (`train_diffusion.pretrained: null`)",
    "generator unconverged": "raise `train_diffusion.images_seen`",
    "undertrained": "raise `recipe.stage_1_updates` and `recipe.stage_2_updates`, or the number of validation patients",
    "unpaired": "train both arms with the same seeds",
    "too few repetitions": "raise `replication.seeds` or, where the generators are repeated, `replication.generators`",
    "too few patients": "bring more test patients, or test all by `prepare.cross_validation: patients`"}
# What the table of slices shows: two arms' scores, and differences to both references.
SLICED = ((REFERENCES[0], ""), (CONFIRMATORY_ARM, ""), *((CONFIRMATORY_ARM, reference) for reference in REFERENCES))


def crossed(corner: str, cells: Mapping[tuple[str, Any], str], columns: Mapping[Any, str]) -> str:
    """Show a matrix of (row, column) -> text, rows in order of appearance; `columns` maps a column to its header."""
    return md.table([corner, *columns.values()], [[row, *(cells.get((row, column), "") for column in columns)]
                                                  for row in dict.fromkeys(row for row, _ in cells)])


def levels(r: Results) -> str:
    """Show balanced accuracy of every arm: by architecture or, where there are several budgets, by budget."""
    rows = r.rows("levels", "arm", "budget", "arch").dropna(subset="estimate")
    rows = rows[rows["budget"].isin(r.shares)]
    rows = rows.assign(named=rows["arm"].map(md.code), shown=list(map(
        md.accuracy, rows["estimate"], rows["low"], rows["high"])))
    if len(r.shares) > 1:
        rows = rows[is_widest(rows, "budget", "arm")]
        rows["named"] += rows["arch"].map(lambda arch: "" if arch == MEAN else f" ({md.escaped(arch)})")
        by, headers = "budget", {budget: f"{100 * share:g} % of the patients" for budget, share in r.shares.items()}
    else:
        archs = sorted(set(rows["arch"]), key=lambda arch: (arch != MEAN, arch))
        by, headers = "arch", {arch: md.escaped(arch) if len(archs) > 1 else "balanced accuracy" for arch in archs}
    return crossed("arm", rows.set_index(["named", by])["shown"].to_dict(), headers)


def further_scores(r: Results) -> pd.DataFrame:
    """Return other scores of every arm at the verdict's budget, mean over its runs, a column each.

    `archs` names the architectures that ran an arm where others did not.
    """
    scores = r.tables["scores"].query("budget == @r.budget")
    means = scores.pivot_table(index="arm", columns="metric", values="value").reindex(ARMS).dropna(how="all")
    every = set(scores["arch"])
    ran = {arm: "" if set(archs) == every else ", ".join(sorted(set(archs)))
           for arm, archs in scores.groupby("arm")["arch"]}
    return means.reset_index().assign(archs=lambda rows: rows["arm"].map(ran))


def baselines(r: Results) -> pd.DataFrame:
    """Return the gains of the real-data baselines and, in columns that end in `_over`, those of synthetic images."""
    rows = r.contrasts.query("role == 'baseline'")
    own, over = rows.query("arm != @CONFIRMATORY_ARM"), rows.query("arm == @CONFIRMATORY_ARM")
    return own.merge(over, left_on=["budget", "arm"], right_on=["budget", "reference"], suffixes=("", "_over"))


def sliced(r: Results, budget: str) -> pd.DataFrame:
    """Return the rows of the slices that are shown, with `named`, the slice in words, and `shown`, its number."""
    rows = r.tables["slices"].query("budget == @budget and arch == @MEAN")
    rows = rows.loc[[pair in SLICED for pair in zip(rows["arm"], rows["reference"], strict=True)]]
    return rows.assign(named=[_named(row) for row in rows.itertuples()],
                       shown=[(md.difference if row.reference and md.known(row.estimate) else md.accuracy)(
                           row.estimate, row.low, row.high) for row in rows.itertuples()])


def _named(row: Any) -> str:
    kind = "scanners in training" if row.slice == "scanner_in_training" else row.slice.replace("_", "-")
    return f"{kind}: {md.escaped(row.value)}" + (f" ({row.in_training})" if row.in_training else "")


def slices(r: Results) -> str:
    """Show scores and differences within each slice at the verdict's budget."""
    cells: dict[tuple[str, Any], str] = {}
    for row in sliced(r, r.budget).itertuples():
        cells[row.named, (row.arm, row.reference)] = row.shown
        cells[row.named, "images"] = f"{md.count(row.n_images)} ({md.count(row.n_patients)})"
    headers: dict[Any, str] = {"images": "images (patients)"}
    return crossed("slice", cells, headers | {
        pair: f"points against {md.code(pair[1])}" if pair[1] else f"{md.code(pair[0])}, %" for pair in SLICED})


def slices_by_budget(r: Results) -> str:
    """Show the difference to `real` within each slice, by budget; nothing where there is one budget."""
    return "" if len(r.shares) == 1 else crossed("slice", {
        (row.named, budget): row.shown for budget in r.shares for row in sliced(r, budget).itertuples()
        if row.reference == REFERENCES[0]}, {budget: f"{100 * share:g} %" for budget, share in r.shares.items()})


def label_fidelity(r: Results) -> str:
    """Show label fidelity by class, beside that of the same classifier on real images."""
    cells, headers = {}, {}
    for (budget, label), row in r.audit.iterrows():
        for column in ("label_fidelity", "ceiling"):
            headers[budget, column] = f"{column.replace('_', ' ')}, %" + (f", {budget}" if len(r.shares) > 1 else "")
            name = "mean over classes" if label == "all" else md.escaped(label)
            cells[name, (budget, column)] = md.percent(row[column])
    return crossed("class", cells, headers)


def components(r: Results) -> str:
    """Show standard deviations of the effects that make up the differences that decide and their arms' scores."""
    deciding = r.deciding_and_naive.query("role == 'confirmatory'")
    names = {(row.contrast, "", row.arch): md.comparison(row.arm, row.reference) for row in deciding.itertuples()} | {
        ("", arm, arch): md.code(arm) for arm, arch in (
            (REFERENCES[0], next(iter(deciding["arch"]), MEAN)), *zip(deciding["arm"], deciding["arch"], strict=True))}
    rows = r.tables["components"].query("budget == @r.budget")
    cells = {(shown + ("" if name[-1] == MEAN else f" ({md.escaped(name[-1])})"), row.component): _component(row)
             for name, shown in names.items() for row in rows.itertuples()
             if (row.contrast, row.arm, row.arch) == name}
    return crossed("difference or arm", cells, {name: name.replace("_", " ") for name in COMPONENTS
                                                if name in set(rows["component"])})


def _component(row: Any) -> str:
    if not md.known(row.standard_deviation):
        return md.UNKNOWN
    if row.clipped:
        return "0 (estimated below 0)"
    return md.percent(row.standard_deviation) + (f" ({100 * row.share:.0f} %)" if md.known(row.share) else "")
