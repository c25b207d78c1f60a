"""Draw a profile's pictures from its results and, where tables are not enough, from its images and predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data.packs import read_pack
from synthplanes.data.selection import earlier_rows, read_classes, read_earlier
from synthplanes.protocol.arms import uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.protocol.words import PRIMARY_METRIC, REFUSALS
from synthplanes.report.figures import classifiers, generators, intervals
from synthplanes.report.results import MEAN, Results, is_widest
from synthplanes.statistics import scores
from synthplanes.statistics.cross_validation import is_crossed, pooled
from synthplanes.statistics.predictions import read_predictions

COMPARED = (REFERENCES[0], CONFIRMATORY_ARM)  # arms whose confusion and reliability are drawn


def draw_contrasts(path: Path, r: Results, budget: str) -> None:
    """Draw every comparison of a budget: of synthetic images with real ones above, all others below.

    A comparison that may be part of a hypothesis, but is none of the verdict's, is secondary.
    """
    rows = r.contrasts.query("budget == @budget").dropna(subset="estimate")
    decides_nothing = (rows["role"] == "confirmatory") & ~rows["confirmatory"]
    rows = rows.assign(label=_labels(rows, rows["arm"] + " against " + rows["reference"]),
                       role=rows["role"].mask(decides_nothing, "secondary"), refused=rows["word"].isin(REFUSALS))
    synthetic = {side: rows[side].map(uses_synthetic).astype(bool) for side in ("arm", "reference")}
    above = synthetic["arm"] & ~synthetic["reference"] & (rows["role"] != "control")
    panels = {("real", "synthetic"): rows[above], ("the second arm", "the first arm"): rows[~above]}
    intervals.forest(path, {sides: panel for sides, panel in panels.items() if len(panel)},
                     r.verdict["overall"]["margin"])


def _labels(rows: pd.DataFrame, names: pd.Series) -> pd.Series:
    """Add the architecture to names of rows that do not speak of the mean over all."""
    return names.where(rows["arch"] == MEAN, names + ", " + rows["arch"])


def draw_from_tables(folder: Path, r: Results) -> None:
    """Draw accuracies, comparisons at every budget, confusion, each seed's pair and learning curves into `folder`."""
    several, chance = len(r.shares) > 1, 1 / len(r.data["classes"])
    levels = r.rows("levels", "arm", "budget", "arch").dropna(subset="estimate")
    levels = levels.assign(low=levels["low"].clip(0, 1), high=levels["high"].clip(0, 1), label=levels["arm"])
    archs = sorted(set(levels["arch"]) - {MEAN}) or [MEAN]
    intervals.levels(folder / "accuracy.png", {
        ", ".join([arch] * (arch != MEAN) + [budget] * several): levels.query("budget == @budget and arch == @arch")
        for budget in r.shares for arch in archs}, chance)
    if several:
        levels = levels[is_widest(levels, "budget", "arm")]
        intervals.curves(folder / "low_data.png", levels.assign(
            label=_labels(levels, levels["arm"]), share=levels["budget"].map(r.shares)), chance)
    for budget in r.shares:
        curves = r.tables["generator_curve"]
        generators.learning_curves(folder / f"learning_curves_{budget}.png", curves[curves["budget"] == budget])
        draw_contrasts(folder / f"contrasts_{budget}.png", r, budget)
        classifiers.confusion(folder / f"confusion_{budget}.png", _matrices(r, budget), r.data["classes"])
        own = r.tables["scores"]
        own = own[(own["budget"] == budget) & (own["metric"] == PRIMARY_METRIC)]
        classifiers.seed_scatter(folder / f"seeds_{budget}.png", {
            reference: {arch: _pairs(own[own["arch"] == arch], reference) for arch in sorted(set(own["arch"]))}
            for reference in REFERENCES}, CONFIRMATORY_ARM)


def _matrices(r: Results, budget: str) -> dict[str, np.ndarray]:
    """Return arm -> float [classes, classes], the shares of records.CONFUSION."""
    rows = r.tables["confusion"]
    rows = rows[rows["budget"] == budget]
    return {arm: rows[rows["arm"] == arm].pivot(index="actual", columns="predicted", values="share").loc[
        r.data["classes"], r.data["classes"]].to_numpy() for arm in COMPARED if (rows["arm"] == arm).any()}


def _pairs(own: pd.DataFrame, reference: str) -> np.ndarray:
    """Return float [pairs, 2]: the scores of the reference's and the arm's run of the same replicate and seed."""
    both = own[own["arm"].isin((reference, CONFIRMATORY_ARM))].pivot(
        index=["replicate", "seed"], columns="arm", values="value").dropna()
    return both[[reference, CONFIRMATORY_ARM]].to_numpy()


def draw_images(path: Path, paths: Paths, budget: str) -> None:
    """Draw training-side images, each of another patient, beside the first generator's images."""
    classes = read_classes(paths.prepared)
    real = read_pack(paths.prepared / "development")
    synthetic = read_pack(paths.replicate("synthetic", budget, 0), records.SYNTHETIC)
    generators.real_beside_synthetic(path, _first_of_each(real.images, real.index, "patient_id", classes),
                                 _first_of_each(synthetic.images, synthetic.index, "image_id", classes))


def draw_learning(path: Path, paths: Paths, budget: str) -> None:
    """Draw an image of each class that the first generator made at each of several moments of its training."""
    classes, folder = read_classes(paths.prepared), paths.replicate("synthetic", budget, 0)
    history = records.read_table(paths.replicate("generator", budget, 0) / "history.csv", records.GENERATOR_HISTORY)
    rows = earlier_rows(read_pack(folder, records.SYNTHETIC).index).reset_index(drop=True)
    first = [rows.index[rows["label"] == name][0] for name in classes]
    generators.by_images_seen(path, {seen: images[first] for seen, images in read_earlier(
        folder, history["images_seen"]).items()}, classes)


def _first_of_each(pixels: np.ndarray, index: pd.DataFrame, group: str, classes: Sequence[str]
                   ) -> dict[str, np.ndarray]:
    """Return class -> uint8 [n, H, W]: the first images of different groups."""
    first = index.drop_duplicates(["label", group])
    return {name: np.array(pixels[first.index[first["label"] == name][:generators.images_per_class(len(classes))]])
            for name in classes}


def draw_reliability(path: Path, paths: Paths, budget: str, archs: list[str]) -> None:
    """Draw the reliability diagram of a budget's classifiers, from their predictions."""
    classes = read_classes(paths.prepared)
    predictions = read_predictions([(arch, paths.classifiers("predictions", budget, arch)) for arch in archs], classes)
    splits = records.read_table(paths.prepared / "splits.csv", records.SPLITS)
    if is_crossed(splits):
        predictions, _ = pooled(predictions, splits)
    test = np.asarray(predictions.rows("test"))
    labels, arms = predictions.labels[test], predictions.runs["arm"].to_numpy()
    of_arm = {arm: np.asarray(predictions.probabilities[arms == arm][:, test]) for arm in COMPARED}
    classifiers.reliability(path, {arm: scores.reliability(runs.reshape(-1, len(classes)), np.tile(labels, len(runs)))
                                   for arm, runs in of_arm.items()})
