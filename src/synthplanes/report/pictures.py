"""Draw a profile's pictures from its results and, where tables are not enough, from its images and predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data.packs import read_pack
from synthplanes.data.selection import read_classes
from synthplanes.protocol.arms import uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.protocol.words import PRIMARY_METRIC, REFUSALS
from synthplanes.report.figures import classifiers, images, intervals, learning
from synthplanes.report.figures.intervals import Comparison, Interval, Panel
from synthplanes.report.results import MEAN, Results, is_widest
from synthplanes.statistics import scores
from synthplanes.statistics.cross_validation import is_crossed, pooled
from synthplanes.statistics.predictions import read_predictions

COMPARED = (REFERENCES[0], CONFIRMATORY_ARM)  # arms whose confusion and reliability are drawn


def draw_contrasts(path: Path, r: Results, budget: str) -> None:
    """Draw every comparison of a budget: of synthetic images with real ones above, all others below."""
    rows = r.contrasts[r.contrasts["budget"] == budget].dropna(subset="estimate")
    lines = [Comparison(f"{row.arm} against {row.reference}" + ("" if row.arch == MEAN else f", {row.arch}"),
                        row.estimate, row.low, row.high, row.role, row.word, row.word in REFUSALS)
             for row in rows.itertuples()]
    above = [uses_synthetic(row.arm) and row.role != "control" for row in rows.itertuples()]
    panels = [Panel(*sides, [line for line, is_above in zip(lines, above, strict=True) if is_above == wanted])
              for wanted, sides in ((True, ("real", "synthetic")), (False, ("the second arm", "the first arm")))]
    intervals.forest(path, [panel for panel in panels if panel.comparisons], r.verdict["overall"]["margin"])


def draw_from_tables(folder: Path, r: Results) -> None:
    """Draw accuracies, comparisons at every budget, confusion, each seed's pair and learning curves into `folder`."""
    several, chance = len(r.shares) > 1, 1 / len(r.data["classes"])
    levels = r.rows("levels", "arm", "budget", "arch").dropna(subset="estimate")
    archs = sorted(set(levels["arch"]) - {MEAN}) or [MEAN]
    intervals.levels(folder / "accuracy.png", {
        ", ".join([arch] * (arch != MEAN) + [budget] * several): [
            Interval(row.arm, *_within(row)) for row in levels.itertuples() if (row.budget, row.arch) == (budget, arch)]
        for budget in r.shares for arch in archs}, chance)
    if several:
        curves: dict[str, dict[float, Interval]] = {}
        for row in levels[is_widest(levels, "budget", "arm")].itertuples():
            name = row.arm if row.arch == MEAN else f"{row.arm}, {row.arch}"
            curves.setdefault(name, {})[r.shares[row.budget]] = Interval(name, *_within(row))
        intervals.curves(folder / "low_data.png", curves, chance)
    learning.learning_curves(folder / "learning_curves.png", r.tables["generator_curve"])
    for budget in r.shares:
        draw_contrasts(folder / f"contrasts_{budget}.png", r, budget)
        classifiers.confusion(folder / f"confusion_{budget}.png", _matrices(r, budget), r.data["classes"])
        own = r.tables["scores"]
        own = own[(own["budget"] == budget) & (own["metric"] == PRIMARY_METRIC)]
        classifiers.seed_scatter(folder / f"seeds_{budget}.png", {
            reference: {arch: _pairs(own[own["arch"] == arch], reference) for arch in sorted(set(own["arch"]))}
            for reference in REFERENCES}, CONFIRMATORY_ARM)


def _within(row: Any) -> tuple[float, float, float]:
    """Limit the interval of an accuracy to 0 to 1; NaN stays NaN."""
    return row.estimate, *np.clip([row.low, row.high], 0, 1).tolist()


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
    images.real_beside_synthetic(path, _first_of_each(real.images, real.index, "patient_id", classes),
                                 _first_of_each(synthetic.images, synthetic.index, "image_id", classes))


def _first_of_each(pixels: np.ndarray, index: pd.DataFrame, group: str, classes: Sequence[str]
                   ) -> dict[str, np.ndarray]:
    """Return class -> uint8 [n, H, W]: the first images of different groups."""
    first = index.drop_duplicates(["label", group])
    return {name: np.array(pixels[first.index[first["label"] == name][:images.images_per_class(len(classes))]])
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
