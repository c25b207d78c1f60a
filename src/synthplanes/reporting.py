"""The report of a profile: one page of text with its figures, made from files and from nothing else.

The page is the same on every machine: sorted, without dates, hosts or absolute paths.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthplanes import counted_work, figures, records, report_sections
from synthplanes.data.packs import read_pack
from synthplanes.errors import UserError
from synthplanes.figures import Interval
from synthplanes.protocol import Profile

IMAGES_PER_CLASS = 5  # beside each other in the first figure
METRIC = "balanced_accuracy"
TRAINING_STAGES = ("baseline", "pretrain", "finetune", "joint")
FOLDERS = ("prepared", *counted_work.BUDGET_STAGES, *counted_work.ARCH_STAGES)


def write_report(profile_name: str, profile: Profile, folders: Mapping[str, Path], metrics_folder: Path,
                 figures_folder: Path) -> None:
    """Write report.md and cost.json into `metrics_folder` and the figures (PNG) into `figures_folder`.

    `folders` maps every name of FOLDERS to the profile's folder of that stage; `metrics_folder` holds
    data.json, scores.csv and verdict.json. The cells are those of the profile, never what happens to be there:
    a missing file, or scores of other cells, raise `UserError`.
    """
    metrics_folder, figures_folder = Path(metrics_folder), Path(figures_folder)
    data = records.read_json(metrics_folder / "data.json")
    verdict = records.read_json(metrics_folder / "verdict.json")
    scores = records.read_table(metrics_folder / "scores.csv", records.SCORES)
    _refuse_other_cells(scores, profile, metrics_folder / "scores.csv")
    budgets = sorted(profile.used_budgets())
    cost = counted_work.collect(profile, folders)
    audits = {budget: records.read_json(Path(folders["audit"]) / budget / "audit.json") for budget in budgets}
    looks = _validation_looks(profile, folders)
    drawn = {
        "contrasts.png": "differences between arms",
        "accuracy.png": "accuracy of every arm",
        "learning_curves.png": "learning curves of the generators",
        **{f"real_and_synthetic_{budget}.png": f"real and synthetic images, budget {budget}" for budget in budgets},
    }
    _draw(profile, folders, data["classes"], verdict, budgets, figures_folder)
    place = Path(os.path.relpath(figures_folder, metrics_folder)).as_posix()
    picture = {name: f"![{words}]({place}/{name})" for name, words in drawn.items()}
    page = report_sections.page(profile_name, profile, data, verdict, scores, cost, audits, looks, picture)
    records.write_json(metrics_folder / "cost.json", cost)
    with records.replacing(metrics_folder / "report.md") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _refuse_other_cells(scores: records.Table, profile: Profile, path: Path) -> None:
    expected = {(budget, arch) for budget in profile.used_budgets() for arch in profile.used_archs()}
    present = set(zip(scores["budget"].tolist(), scores["arch"].tolist()))
    for cells, fault in ((expected - present, "lacks"), (present - expected, "holds the surplus")):
        if cells:
            budget, arch = min(cells)
            raise UserError(f"{path} {fault} scores of the budget '{budget}' and the architecture '{arch}': run "
                            "evaluate again.")


def _validation_looks(profile: Profile, folders: Mapping[str, Path]) -> dict[str, int]:
    """arm -> looks per classifier, from the cells that trained it; cells that disagree are refused."""
    looks: dict[str, int] = {}
    for stage in TRAINING_STAGES:
        for budget in profile.used_budgets():
            for arch in profile.used_archs():
                path = Path(folders[stage]) / budget / arch / "cell.json"
                cell = records.read_json(path)
                for arm in cell["arms"]:
                    if looks.setdefault(arm, cell["validation_looks"]) != cell["validation_looks"]:
                        raise UserError(f"{path} says that {arm} looked {cell['validation_looks']} times at validation "
                                        f"images, another cell says {looks[arm]}: run both stages again.")
    return looks


def _draw(profile: Profile, folders: Mapping[str, Path], classes: list[str], verdict: dict, budgets: list[str],
          out: Path) -> None:
    contrasts = [record for record in report_sections.in_order(verdict["records"])
                 if record["metric"] == METRIC and record["estimate"] is not None
                 and report_sections.widest(record, verdict["records"])]
    figures.forest(out / "contrasts.png", [
        Interval(f"{record['arm']} against {record['reference_arm']}"
                 + (f", {record['budget']}" if len(budgets) > 1 else "")
                 + (f", {record['arch']}" if record["arch"] != "mean" else ""),
                 record["estimate"], record["low"], record["high"]) for record in contrasts],
        profile.evaluate.margin)
    figures.levels(out / "accuracy.png", {
        arch if len(budgets) == 1 else f"{arch}, {budget}": [
            Interval(level["arm"], level["estimate"], max(0, level["low"]), min(1, level["high"]))
            for level in report_sections.levels_of(verdict, budget, arch) if level["estimate"] is not None]
        for budget in budgets for arch in sorted(profile.used_archs())}, 1 / len(classes))
    replicates = range(profile.replication.generators)
    figures.learning_curves(out / "learning_curves.png", {
        f"{budget}, generator {replicate}": records.read_table(
            Path(folders["generator"]) / budget / f"r{replicate}" / "history.csv", records.GENERATOR_HISTORY).columns
        for budget in budgets for replicate in replicates})
    development = read_pack(Path(folders["prepared"]) / "development")
    for budget in budgets:
        synthetic = read_pack(Path(folders["synthetic"]) / budget / "r0", records.SYNTHETIC)
        figures.side_by_side(out / f"real_and_synthetic_{budget}.png",
                             _first_of_each(development.images, development.index["label"], classes,
                                            development.index["patient_id"]),
                             _first_of_each(synthetic.images, synthetic.index["label"], classes,
                                            synthetic.index["image_id"]))


def _first_of_each(images: np.ndarray, labels: np.ndarray, classes: list[str], groups: np.ndarray
                   ) -> dict[str, np.ndarray]:
    """Per class the first images of different groups (patients): class -> uint8 [n, H, W]."""
    chosen = {}
    for name in classes:
        rows = np.flatnonzero(labels == name)
        first = np.sort(np.unique(groups[rows], return_index=True)[1])[:IMAGES_PER_CLASS]
        chosen[name] = np.array(images[rows[first]])
    return chosen
