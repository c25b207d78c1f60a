"""The report of a profile: one page of text with its figures, made from files and from nothing else.

The page is the same on every machine: sorted, without dates, hosts or absolute paths.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthplanes.protocol import counted_work
from synthplanes import records
from synthplanes.report import budgets as report_budgets, sections as report_sections
from synthplanes.data.packs import read_pack
from synthplanes.errors import UserError
from synthplanes.report.figures import classifiers, images, intervals, learning
from synthplanes.report.figures.intervals import Interval
from synthplanes.protocol.profiles import Profile
from synthplanes.statistics import scores as score
from synthplanes.statistics.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.statistics.cross_validation import is_crossed, pooled
from synthplanes.statistics.predictions import read_predictions

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
    budgets = report_budgets.by_share(profile.used_budgets())
    splits = records.read_table(Path(folders["prepared"]) / "splits.csv", records.SPLITS)
    cost = counted_work.collect(profile, folders)
    audits = {budget: records.read_json(Path(folders["audit"]) / budget / "audit.json") for budget in budgets}
    looks, origins = _validation_looks(profile, folders), _origins(profile, folders)
    drawn = {
        "contrasts.png": "differences between arms",
        "accuracy.png": "accuracy of every arm",
        "learning_curves.png": "learning curves of the generators",
        **({"low_data.png": "accuracy against the share of the training patients"} if len(budgets) > 1 else {}),
        **{f"{name}_{budget}.png": f"{words}, budget {budget}" for budget in budgets for name, words in (
            ("real_and_synthetic", "real and synthetic images"), ("seeds", "each seed of the confirmatory pair"),
            ("confusion", "confusion of classes"), ("reliability", "reliability of probabilities"))},
    }
    _draw(profile, folders, data["classes"], verdict, budgets, figures_folder)
    for budget in budgets:
        _draw_classifiers(profile, Path(folders["predictions"]) / budget, budget, data["classes"], scores, splits,
                          figures_folder)
    place = Path(os.path.relpath(figures_folder, metrics_folder)).as_posix()
    picture = {name: f"![{words}]({place}/{name})" for name, words in drawn.items()}
    page = report_sections.page(profile_name, profile, data, verdict, scores, cost, audits, looks, origins, picture)
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


def _origins(profile: Profile, folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """architecture role -> what the weights that it begins from had learned from."""
    budget = min(profile.used_budgets())
    return {arch: records.read_json(Path(folders["baseline"]) / budget / arch / "cell.json")["began_from"]
            for arch in profile.used_archs()}


def _draw(profile: Profile, folders: Mapping[str, Path], classes: list[str], verdict: dict, budgets: list[str],
          out: Path) -> None:
    contrasts = [record for record in report_sections.in_order(verdict["records"], budgets)
                 if record["metric"] == METRIC and record["estimate"] is not None
                 and report_sections.widest(record, verdict["records"])]
    intervals.forest(out / "contrasts.png", [
        Interval(f"{record['arm']} against {record['reference_arm']}"
                 + (f", {record['budget']}" if len(budgets) > 1 else "")
                 + (f", {record['arch']}" if record["arch"] != "mean" else ""),
                 record["estimate"], record["low"], record["high"]) for record in contrasts],
        profile.evaluate.margin)
    intervals.levels(out / "accuracy.png", {
        arch if len(budgets) == 1 else f"{arch}, {budget}": [
            Interval(level["arm"], level["estimate"], max(0, level["low"]), min(1, level["high"]))
            for level in report_sections.levels_of(verdict, budget, scope) if level["estimate"] is not None]
        for budget in budgets for arch, scope in _scopes(profile)}, 1 / len(classes))
    if len(budgets) > 1:
        intervals.curves(out / "low_data.png", {
            name: {share: Interval("", level["estimate"], level["low"], level["high"]) for share, level in curve.items()}
            for name, curve in report_budgets.by_arm(verdict, profile.used_budgets()).items()}, 1 / len(classes))
    replicates = range(profile.replication.generators)
    learning.learning_curves(out / "learning_curves.png", {
        budget: [records.read_table(Path(folders["generator"]) / budget / f"r{replicate}" / "history.csv",
                                    records.GENERATOR_HISTORY).columns for replicate in replicates]
        for budget in budgets})
    development = read_pack(Path(folders["prepared"]) / "development")
    for budget in budgets:
        synthetic = read_pack(Path(folders["synthetic"]) / budget / "r0", records.SYNTHETIC)
        images.side_by_side(out / f"real_and_synthetic_{budget}.png",
                            _first_of_each(development.images, development.index["label"], classes,
                                           development.index["patient_id"]),
                            _first_of_each(synthetic.images, synthetic.index["label"], classes,
                                           synthetic.index["image_id"]))


def _scopes(profile: Profile) -> list[tuple[str, str]]:
    """(architecture, the name of its rows in the verdict); one architecture alone is the mean."""
    archs = sorted(profile.used_archs())
    return [(arch, arch if len(archs) > 1 else "mean") for arch in archs]


def _draw_classifiers(profile: Profile, folder: Path, budget: str, classes: list[str], scores: records.Table,
                      splits: records.Table, out: Path) -> None:
    """What the runs of the confirmatory arm and of `real` do on the test images of one budget."""
    archs = sorted(profile.used_archs())
    predictions = read_predictions([(arch, folder / arch) for arch in archs], classes)
    if is_crossed(splits):
        predictions, _ = pooled(predictions, splits)
    test = predictions.rows("test")
    labels = predictions.labels[test]
    of_arm = {arm: np.asarray(predictions.probabilities[predictions.runs["arm"] == arm][:, test])
              for arm in (REFERENCES[0], CONFIRMATORY_ARM)}
    classifiers.confusion(out / f"confusion_{budget}.png", {
        arm: score.mean_confusion(runs, labels) for arm, runs in of_arm.items()}, classes)
    classifiers.reliability(out / f"reliability_{budget}.png", {
        arm: score.reliability(runs.reshape(-1, len(classes)), np.tile(labels, len(runs)))
        for arm, runs in of_arm.items()})
    classifiers.seed_scatter(out / f"seeds_{budget}.png", {
        reference: {arch: _pairs(scores, budget, arch, reference, CONFIRMATORY_ARM) for arch in archs}
        for reference in REFERENCES}, CONFIRMATORY_ARM)


def _pairs(scores: records.Table, budget: str, arch: str, *arms: str) -> np.ndarray:
    """float [pairs, arms]: the scores of the classifiers that share their replicate and seed, in that order."""
    own = scores.select((scores["budget"] == budget) & (scores["arch"] == arch) & (scores["metric"] == METRIC))
    value = {arm: {(row["replicate"], row["seed"]): row["value"] for row in own.rows() if row["arm"] == arm}
             for arm in arms}
    shared = sorted(set.intersection(*map(set, value.values())))
    return np.array([[value[arm][run] for arm in arms] for run in shared]).reshape(-1, len(arms))


def _first_of_each(images: np.ndarray, labels: np.ndarray, classes: list[str], groups: np.ndarray
                   ) -> dict[str, np.ndarray]:
    """Per class the first images of different groups (patients): class -> uint8 [n, H, W]."""
    chosen = {}
    for name in classes:
        rows = np.flatnonzero(labels == name)
        first = np.sort(np.unique(groups[rows], return_index=True)[1])[:IMAGES_PER_CLASS]
        chosen[name] = np.array(images[rows[first]])
    return chosen
