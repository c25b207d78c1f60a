"""Pool the folds of a cross-validation into one set of test rows.

Every image is predicted by classifiers that were never trained on its patient. A replicate is a fold: it has test
patients, a generator and classifiers of its own. Run s of an arm then joins the predictions of the s-th classifiers of
all folds, each on its own test images. An image may be a validation image in several folds, so validation rows are
named with their fold.

A limit of this: patients of one fold share a generator and training images, and folds share training images with each
other, so the interval, whose clusters are patients, takes the generators as given (Bengio & Grandvalet 2004: no
estimator of that variance is unbiased). The verdict therefore applies to this collection of synthetic sets.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Run
from synthplanes.records import RUNS, SPLITS
from synthplanes.statistics.predictions import Predictions


def is_crossed(splits: pd.DataFrame | None) -> bool:
    """Return whether splits.csv names test images of its own."""
    return splits is not None and bool((splits["role"] == "test").any())


def pooled_runs(runs: frozenset[Run]) -> frozenset[Run]:
    """Return the runs that remain of those of all folds: all of replicate 0."""
    return frozenset((arm, arch, budget, 0, seed) for arm, arch, budget, _, seed in runs)


def pooled(predictions: Predictions, splits: pd.DataFrame) -> tuple[Predictions, pd.DataFrame]:
    """Return one replicate made of the folds of one budget, and its validation rows (records.SPLITS).

    `predictions` holds every development image once, under every run of every fold. Raises `UserError` where an image
    is tested by no fold or by two, or where a fold lacks a run.
    """
    own = splits[splits["budget"] == predictions.budget]
    row_of = {image_id: row for row, image_id in enumerate(predictions.images["image_id"].tolist())}
    folds = sorted(set(own["replicate"].tolist()))
    columns = {role: [_rows(own, fold, role, row_of) for fold in folds] for role in ("validation", "test")}
    times = np.bincount(np.concatenate(columns["test"]), minlength=len(row_of))
    if not (times == 1).all():
        wrong = int(np.flatnonzero(times != 1)[0])
        raise UserError(f"splits.csv of the budget '{predictions.budget}' has the image "
                        f"'{predictions.images['image_id'].iloc[wrong]}' tested by {times[wrong]} folds in place of "
                        "one: run prepare and predict again.")
    place = {run: row for row, run in enumerate(predictions.identities)}
    identities = sorted(pooled_runs(frozenset(predictions.identities)))
    picked = [(fold, rows) for role in ("validation", "test") for fold, rows in zip(folds, columns[role], strict=True)]
    n = sum(len(rows) for _, rows in picked)
    probabilities = np.empty((len(identities), n, len(predictions.classes)), dtype=predictions.probabilities.dtype)
    for number, (arm, arch, budget, _, seed) in enumerate(identities):
        run_of = {fold: place.get((arm, arch, budget, fold, seed)) for fold in folds}
        if lacking := [fold for fold, run in run_of.items() if run is None]:
            raise UserError(f"the predictions lack arm {arm}, architecture {arch}, budget {budget}, fold "
                            f"{lacking[0]}, seed {seed}: run the stages that train and predict it.")
        probabilities[number] = np.concatenate([predictions.probabilities[run_of[fold], rows] for fold, rows in picked])
    rows = np.concatenate([rows for _, rows in picked])
    fold_of = np.concatenate([np.full(len(rows), fold) for fold, rows in picked])
    n_validation = sum(map(len, columns["validation"]))
    names = predictions.images["image_id"].iloc[rows].tolist()
    names = [f"{name} (fold {fold})" if at < n_validation else name
             for at, (name, fold) in enumerate(zip(names, fold_of.tolist(), strict=True))]
    images = predictions.images.iloc[rows].reset_index(drop=True).assign(
        role=pd.Series(["validation"] * n_validation + ["test"] * (n - n_validation), dtype="str"),
        image_id=pd.Series(names, dtype="str"))
    held_out = SPLITS.frame(dict(budget=predictions.budget, replicate=0, image_id=name, role="validation")
                            for name in names[:n_validation])
    runs = RUNS.frame(dict(zip(RUNS.columns, run, strict=True)) for run in identities)
    return Predictions(runs, images, probabilities, predictions.classes), held_out


def all_pooled(budgets: Sequence[Predictions], splits: pd.DataFrame) -> tuple[list[Predictions], pd.DataFrame]:
    """Return `pooled` of every budget, with the validation rows of all in one table."""
    both = [pooled(predictions, splits) for predictions in budgets]
    return [predictions for predictions, _ in both], pd.concat([rows for _, rows in both], ignore_index=True)


def _rows(own: pd.DataFrame, fold: int, role: str, row_of: dict[str, int]) -> np.ndarray:
    """Return the rows of the predictions that a fold's images of one role have: int [n]."""
    names = own["image_id"][(own["replicate"] == fold) & (own["role"] == role)].tolist()
    if unknown := [name for name in names if name not in row_of]:
        raise UserError(f"the predictions lack the image '{unknown[0]}' that splits.csv names: run predict again.")
    return np.array([row_of[name] for name in names], dtype=np.int64)
