"""Folds pooled into one set of test rows: every image is judged by the classifiers that never saw its patient.

In cross-validation a replicate is a fold: it has test patients, a generator and classifiers of its own. Run s of an
arm is then what the s-th classifiers of all folds say together, each of its own test images; an image may be validation
in several folds, so validation rows are named with their fold.

What that leaves out: patients of one fold share a generator and training images, and folds share training images with
each other, so the interval, whose clusters are patients, takes the generators as given (Bengio & Grandvalet 2004: no
estimator of that variance is unbiased). The verdict therefore speaks of this collection of synthetic sets.
"""

from collections.abc import Sequence

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import PREDICTED, RUNS, SPLITS, Table
from synthplanes.statistics.predictions import Cell, Predictions


def is_crossed(splits: Table | None) -> bool:
    """Whether splits.csv names test images of its own."""
    return splits is not None and bool((splits["role"] == "test").any())


def pooled_cells(cells: frozenset[Cell]) -> frozenset[Cell]:
    """The runs that remain of those of all folds: all of replicate 0."""
    return frozenset((arm, arch, budget, 0, seed) for arm, arch, budget, _, seed in cells)


def pooled(predictions: Predictions, splits: Table) -> tuple[Predictions, Table]:
    """One replicate made of the folds of one budget, and its validation rows (records.SPLITS).

    `predictions` holds every development image once, under every run of every fold. Raises `UserError` where an image
    is tested by no fold or by two, or where a fold lacks a run.
    """
    own = splits.select(splits["budget"] == predictions.budget)
    row_of = {image_id: row for row, image_id in enumerate(predictions.images["image_id"].tolist())}
    folds = sorted(set(own["replicate"].tolist()))
    columns = {role: [_rows(own, fold, role, row_of) for fold in folds] for role in ("validation", "test")}
    times = np.bincount(np.concatenate(columns["test"]), minlength=len(row_of))
    if not (times == 1).all():
        wrong = predictions.images["image_id"][np.flatnonzero(times != 1)[0]]
        raise UserError(f"splits.csv of the budget '{predictions.budget}' has the image '{wrong}' tested by "
                        f"{times[row_of[str(wrong)]]} folds in place of one: run prepare and predict again.")
    place = {cell: row for row, cell in enumerate(predictions.cells)}
    cells = sorted(pooled_cells(frozenset(predictions.cells)))
    picked = [(fold, rows) for role in ("validation", "test") for fold, rows in zip(folds, columns[role])]
    n = sum(len(rows) for _, rows in picked)
    probabilities = np.empty((len(cells), n, len(predictions.classes)), dtype=predictions.probabilities.dtype)
    for number, (arm, arch, budget, _, seed) in enumerate(cells):
        runs = [place.get((arm, arch, budget, fold, seed)) for fold in folds]
        if None in runs:
            raise UserError(f"the predictions lack arm {arm}, architecture {arch}, budget {budget}, fold "
                            f"{folds[runs.index(None)]}, seed {seed}: run the stages that train and predict it.")
        run_of = dict(zip(folds, runs))
        probabilities[number] = np.concatenate([predictions.probabilities[run_of[fold], rows] for fold, rows in picked])
    rows = np.concatenate([rows for _, rows in picked])
    n_validation = sum(map(len, columns["validation"]))
    role = np.where(np.arange(n) < n_validation, "validation", "test")
    names = [f"{image_id} (fold {fold})" if at < n_validation else image_id for at, (image_id, fold) in enumerate(zip(
        predictions.images["image_id"][rows].tolist(), (fold for fold, part in picked for _ in part)))]
    images = predictions.images.select(rows).with_columns(role=role, image_id=names)
    held_out = Table.of_rows(SPLITS, (dict(budget=predictions.budget, replicate=0, image_id=name, role="validation")
                                      for name in names[:n_validation]))
    runs = Table.of_rows(RUNS, (dict(zip(RUNS.columns, cell)) for cell in cells))
    return Predictions(runs, Table(PREDICTED, images.columns), probabilities, predictions.classes), held_out


def all_pooled(budgets: Sequence[Predictions], splits: Table) -> tuple[list[Predictions], Table]:
    """`pooled` of every budget, with the validation rows of all in one table."""
    both = [pooled(predictions, splits) for predictions in budgets]
    held_out = Table.of_rows(SPLITS, (row for _, rows in both for row in rows.rows()))
    return [predictions for predictions, _ in both], held_out


def _rows(own: Table, fold: int, role: str, row_of: dict[str, int]) -> np.ndarray:
    """int [n]: where the images stand in the predictions."""
    names = own["image_id"][(own["replicate"] == fold) & (own["role"] == role)].tolist()
    unknown = [name for name in names if name not in row_of]
    if unknown:
        raise UserError(f"the predictions lack the image '{unknown[0]}' that splits.csv names: run predict again.")
    return np.array([row_of[name] for name in names], dtype=np.int64)
