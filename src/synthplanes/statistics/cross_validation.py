"""Pool the folds of a cross-validation into one set of test rows.

Every image is predicted by classifiers that were never trained on its patient. A replicate is a fold: it has test
patients, a generator and classifiers of its own. Run s of an arm then joins the predictions of the s-th classifiers of
all folds, each on its own test images. An image may be a validation image in several folds, so validation rows are
named with their fold.

Patients of one fold share a generator and training images, and folds share training images, so the interval, whose
clusters are patients, takes the generators as given (no estimator of that variance is unbiased: Bengio & Grandvalet
2004). The verdict therefore applies to this collection of synthetic sets.
"""

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.records import RUNS, SPLITS
from synthplanes.statistics.predictions import Predictions


def is_crossed(splits: pd.DataFrame | None) -> bool:
    """Return whether splits.csv names test images of its own."""
    return splits is not None and bool((splits["role"] == "test").any())


def pooled(predictions: Predictions, splits: pd.DataFrame) -> tuple[Predictions, pd.DataFrame]:
    """Return one replicate made of the folds of one budget, and its validation rows (records.SPLITS).

    `predictions` holds every development image once, under every run of every fold. Raises `UserError` where an image
    is tested by no fold or by two, or where a fold lacks a run.
    """
    held = splits[(splits["budget"] == predictions.budget) & splits["role"].isin(["validation", "test"])]
    held = held.sort_values(["role", "replicate"], ascending=[False, True], kind="stable", ignore_index=True)
    is_test, names = held["role"] == "test", predictions.images["image_id"]
    rows = pd.Index(names).get_indexer(held["image_id"])
    if (rows < 0).any():
        raise UserError(f"the predictions lack the image '{held['image_id'][rows < 0].iloc[0]}' that splits.csv names: "
                        "run predict again.")
    times = np.bincount(rows[is_test], minlength=len(names))
    if (times != 1).any():
        wrong = int((times != 1).argmax())
        raise UserError(f"splits.csv of the budget '{predictions.budget}' has the image '{names.iloc[wrong]}' tested "
                        f"by {times[wrong]} folds in place of one: run prepare and predict again.")
    place = {run: row for row, run in enumerate(predictions.identities)}
    folds, fold = np.unique(held["replicate"], return_inverse=True)
    identities = sorted({(arm, arch, budget, 0, seed) for arm, arch, budget, _, seed in predictions.identities})
    runs = np.array([[place.get((arm, arch, budget, number, seed), -1) for number in folds.tolist()]
                     for arm, arch, budget, _, seed in identities])                # [identities, folds]
    if (runs < 0).any():
        lacking, number = np.argwhere(runs < 0)[0]
        arm, arch, budget, _, seed = identities[lacking]
        raise UserError(f"the predictions lack arm {arm}, architecture {arch}, budget {budget}, fold {folds[number]}, "
                        f"seed {seed}: run the stages that train and predict it.")
    held["image_id"] = held["image_id"].where(
        is_test, held["image_id"] + " (fold " + held["replicate"].astype("str") + ")")
    images = predictions.images.iloc[rows].reset_index(drop=True).assign(
        role=held["role"], image_id=held["image_id"])
    return (Predictions(RUNS.frame(dict(zip(RUNS.columns, run, strict=True)) for run in identities), images,
                        predictions.probabilities[runs[:, fold], rows], predictions.classes),
            held[~is_test].reset_index(drop=True).assign(replicate=0)[list(SPLITS.columns)])
