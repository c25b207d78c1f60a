"""Collect the metadata of the images that a budget trains on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.statistics.predictions import Predictions


@dataclass(frozen=True)
class TrainingSets:
    """The training images of every replicate, and which replicate tests which image."""

    images: Mapping[int, pd.DataFrame]  # replicate -> rows of records.INDEX
    fold: np.ndarray | None = None      # int [test images]: the replicate that tests each; None: all test all of them

    def answers(self, of: Callable[[pd.DataFrame], np.ndarray]) -> np.ndarray:
        """Apply `of`, which maps training images to one answer per test image: [replicates, test images].

        In cross-validation the result is [1, test images], each answer by the training images of its fold.
        """
        by = {replicate: np.asarray(of(images)) for replicate, images in self.images.items()}
        if self.fold is None:
            return np.stack(list(by.values()))
        return np.array([[by[replicate][row] for row, replicate in enumerate(self.fold.tolist())]])


def check_index(predictions: Predictions, development: pd.DataFrame) -> None:
    """Raise `UserError` where `development` (records.INDEX) describes an image otherwise than the predictions do.

    Roles may differ.
    """
    both = predictions.images.merge(development, on="image_id", suffixes=("", " in the index"))
    for column in ("patient_id", "label", "scanner", "operator", "sub_plane"):
        differs = (both[column] != both[f"{column} in the index"]).to_numpy()
        if differs.any():
            raise UserError(f"The image '{both['image_id'][differs].min()}' has another {column} in the predictions of "
                            f"the budget '{predictions.budget}' than in the development index.csv: run prepare and "
                            "predict again.")


def training_sets(splits: pd.DataFrame, development: pd.DataFrame, budget: str) -> dict[int, pd.DataFrame]:
    """Map each replicate to the rows of `development` (records.INDEX) that it trains on, validation images excepted.

    `splits` is records.SPLITS. Raises `UserError` where an image of the splits is not in the index, or where the
    budget trains on nothing.
    """
    own = splits[(splits["budget"] == budget) & (splits["role"] == "train")]
    if not len(own):
        raise UserError(f"splits.csv names no training image of the budget '{budget}': run prepare again.")
    if unknown := set(own["image_id"]) - set(development["image_id"]):
        raise UserError(f"splits.csv of the budget '{budget}' names the image '{min(unknown)}', which the development "
                        "index.csv lacks: run prepare again.")
    return {int(replicate): development[development["image_id"].isin(rows["image_id"])].reset_index(drop=True)
            for replicate, rows in own.groupby("replicate")}


def folds_of(test_images: np.ndarray, splits: pd.DataFrame, budget: str) -> np.ndarray:
    """Return the replicate that tests each image, according to splits.csv (by image_id): int [test images]."""
    own = splits[(splits["budget"] == budget) & (splits["role"] == "test")]
    fold = dict(zip(own["image_id"].tolist(), own["replicate"].tolist(), strict=True))
    return np.array([fold[image_id] for image_id in test_images.tolist()], dtype=np.int64)
