"""Score rules on metadata alone: what a classifier could reach without any pixel.

A rule is learned from the labels of the budget's training images and scored on the test patients of the verdict, with
the same balanced accuracy and interval. `majority` always answers the most frequent training class. `scanner` and
`operator` answer, for each scanner s (operator) of training, the class c of whose images the largest share is from s,

    argmax over c of n[s, c] / n[c]

which is Bayes' rule where all classes are equally likely, hence the rule of this kind with the largest balanced
accuracy on the training images; answering the most frequent class of a scanner would say `Other` nearly always. A value
that is unknown or does not occur in training gets the majority class. Ties go to the first class by name.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import interval
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.training_sets import TrainingSets
from synthplanes.statistics.verdict import described

COLUMNS = ("scanner", "operator")


def rule_rows(predictions: Predictions, training: TrainingSets) -> Iterator[dict[str, Any]]:
    """Yield the rows of metadata_rules.csv, one per rule.

    `share_unseen` is the share of test images (mean over replicates) whose value does not occur in training.
    """
    test = predictions.rows("test")
    label = predictions.column("label")[test]
    blocks = Blocks.balanced(predictions.labels[test], predictions.column("patient_id")[test])
    for rule in ("majority", *COLUMNS):
        column = predictions.column("label" if rule == "majority" else rule)[test].tolist()
        why = "" if rule == "majority" or all(class_of_each(of, rule) for of in training.images.values()) else (
            f"no training image has a known {rule}")
        unseen = training.answers(partial(_unseen, rule, column))
        right = training.answers(partial(_answers, rule, column)) == label
        # A rule has no seed: within a single replicate it is deterministic, so only patients add variance.
        units = right if len(right) > 1 else np.repeat(right, 2, axis=0)
        yield {"budget": predictions.budget, "rule": rule, "metric": PRIMARY_METRIC, "n_images": len(label),
               "n_patients": blocks.n_patients, "share_unseen": None if why else float(np.mean(unseen)),
               **described(None if why else interval(units, blocks), why)}


def _known(rule: str, training: pd.DataFrame) -> dict[str, str]:
    return {} if rule == "majority" else class_of_each(training, rule)


def _unseen(rule: str, column: list[str], training: pd.DataFrame) -> np.ndarray:
    return ~np.isin(column, list(_known(rule, training))) & (rule != "majority")


def _answers(rule: str, column: list[str], training: pd.DataFrame) -> np.ndarray:
    known, otherwise = _known(rule, training), majority_class(training)
    return np.array([known.get(value, otherwise) for value in column])


def majority_class(training: pd.DataFrame) -> str:
    """Return the class with most images in `training`."""
    names, counts = np.unique(training["label"].to_numpy(), return_counts=True)
    return str(names[counts.argmax()])


def class_of_each(training: pd.DataFrame, column: str) -> dict[str, str]:
    """Map each known value of `column` to the class of which it holds the largest share in `training`."""
    names, label = np.unique(training["label"].to_numpy(), return_inverse=True)
    values, value = np.unique(training[column].to_numpy(), return_inverse=True)
    counts = np.zeros((len(values), len(names)), dtype=np.int64)
    np.add.at(counts, (value, label), 1)
    best = (counts / counts.sum(axis=0)).argmax(axis=1)
    return {str(name): str(names[chosen]) for name, chosen in zip(values, best, strict=True) if name}
