"""Score rules on metadata alone: what a classifier could reach without any pixel.

A rule is learned from the labels of the budget's training images and scored on the test patients of the verdict, with
the same balanced accuracy and interval. `majority` always answers the most frequent training class. `scanner` and
`operator` answer, for each scanner s (operator) of training, the class c of whose images the largest share is from s,

    argmax over c of n[s, c] / n[c]

which is Bayes' rule where all classes are equally likely, hence the rule of this kind with the largest balanced
accuracy on the training images; answering the most frequent class of a scanner would say `Other` nearly always. A value
that is unknown or does not occur in training gets the majority class. Ties go to the first class by name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import interval
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.verdict import described


@dataclass(frozen=True)
class TrainingSets:
    """The training images of every replicate, and which replicate tests which image."""

    images: Mapping[int, pd.DataFrame]  # replicate -> rows of records.INDEX
    fold: np.ndarray | None = None      # int [test images]: the replicate that tests each; None: all test all of them

    def answers(self, of: Callable[[pd.DataFrame], np.ndarray]) -> np.ndarray:
        """Apply `of`, which maps training images to one answer per test image: [replicates, test images].

        In cross-validation the result is [1, test images], each answer by the training images of its fold.
        """
        by = {replicate: of(images) for replicate, images in self.images.items()}
        if self.fold is None:
            return np.stack(list(by.values()))
        return np.array([[by[replicate][row] for row, replicate in enumerate(self.fold.tolist())]])


def check_index(predictions: Predictions, development: pd.DataFrame) -> None:
    """Raise `UserError` where `development` (records.INDEX) describes an image otherwise than the predictions do.

    Roles may differ.
    """
    both = predictions.images.merge(development, on="image_id", suffixes=("", " in the index"))
    for column in ("patient_id", "label", "scanner", "operator", "sub_plane"):
        differs = both[column] != both[f"{column} in the index"]
        if differs.any():
            raise UserError(f"The image '{both['image_id'][differs].min()}' has another {column} in the predictions of "
                            f"the budget '{predictions.budget}' than in the development index.csv: run prepare and "
                            "predict again.")


def training_sets(predictions: Predictions, splits: pd.DataFrame, development: pd.DataFrame) -> TrainingSets:
    """Find the rows of `development` (records.INDEX) that each replicate trains on, validation images excepted.

    `splits` is records.SPLITS; `predictions` name the budget and, in cross-validation, the test images. Raises
    `UserError` where an image of the splits is not in the index, or where the budget trains on nothing.
    """
    budget = predictions.budget
    of_role = dict(list(splits[splits["budget"] == budget].groupby("role")))
    if "train" not in of_role:
        raise UserError(f"splits.csv names no training image of the budget '{budget}': run prepare again.")
    own = of_role["train"]
    if unknown := set(own["image_id"]) - set(development["image_id"]):
        raise UserError(f"splits.csv of the budget '{budget}' names the image '{min(unknown)}', which the development "
                        "index.csv lacks: run prepare again.")
    fold = None
    if "test" in of_role:
        tested = predictions.images["image_id"][predictions.rows("test")]
        fold = of_role["test"].set_index("image_id")["replicate"].loc[tested].to_numpy()
    return TrainingSets({int(replicate): development[development["image_id"].isin(rows["image_id"])]
                         for replicate, rows in own.groupby("replicate")}, fold)


def rule_rows(predictions: Predictions, training: TrainingSets, shared: float = 0.0) -> Iterator[dict[str, Any]]:
    """Yield the rows of metadata_rules.csv, one per rule.

    `share_unseen` is the share of test images (mean over replicates) whose value does not occur in training.
    """
    test = predictions.rows("test")
    label = predictions.column("label")[test]
    blocks = Blocks.balanced(predictions.labels[test], predictions.column("patient_id")[test])
    majority = training.answers(lambda images: np.full(len(label), majority_class(images)))
    for rule in ("majority", "scanner", "operator"):
        answers, share_unseen, why = majority, 0.0, ""
        if rule != "majority":
            known = training.answers(partial(_known, rule, predictions.column(rule)[test]))
            answers, share_unseen = np.where(known == "", majority, known), float(np.mean(known == ""))
            if not all(class_of_each(images, rule) for images in training.images.values()):
                why = f"no training image has a known {rule}"
        right = answers == label
        # A rule has no seed: within a single replicate it is deterministic, so only patients add variance.
        units = right if len(right) > 1 else np.repeat(right, 2, axis=0)
        yield {"budget": predictions.budget, "rule": rule, "metric": PRIMARY_METRIC, "n_images": len(label),
               "n_patients": blocks.n_patients, "share_unseen": None if why else share_unseen,
               **described(None if why else interval(units, blocks, shared), why)}


def _known(rule: str, values: np.ndarray, training: pd.DataFrame) -> np.ndarray:
    """Return the class that each value stands for in `training`, '' where it does not occur there."""
    classes = class_of_each(training, rule)
    return np.array([classes.get(value, "") for value in values])


def majority_class(training: pd.DataFrame) -> str:
    """Return the class with most images in `training`."""
    return str(training["label"].mode().iloc[0])


def class_of_each(training: pd.DataFrame, column: str) -> dict[str, str]:
    """Map each known value of `column` to the class of which it holds the largest share in `training`."""
    shares = pd.crosstab(training[column], training["label"], normalize="columns")
    return shares.idxmax(axis=1).drop("", errors="ignore").to_dict()
