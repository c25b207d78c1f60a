"""What a classifier could score without looking at a pixel: rules that know only how an image was made.

A rule is learned from the labels of the budget's training images and judged on the test patients of the verdict, with
the same balanced accuracy and interval. `majority` always answers the most frequent training class. `scanner` and
`operator` answer, for each scanner s (operator) of training, the class c with the largest share of ITS images there,

    argmax over c of n[s, c] / n[c]

which is Bayes' rule where all classes are equally likely, hence the rule of this kind with the largest balanced
accuracy on the training images; answering the most frequent class of a scanner would say `Other` nearly always. A
value that training has not seen, or that is unknown, gets the majority class. Of equal classes the first by name wins.
"""

import numpy as np

from synthplanes.records import Table
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import interval
from synthplanes.statistics.predictions import Predictions
from synthplanes.protocol.settings import PRIMARY_METRIC
from synthplanes.statistics.training_sets import TrainingSets
from synthplanes.statistics.verdict import described

COLUMNS = ("scanner", "operator")


def baseline_records(predictions: Predictions, training: TrainingSets) -> list[dict]:
    """One record per rule.

    `share_unseen` is the share of test images (mean over replicates) whose value training did not see.
    """
    test = predictions.rows("test")
    images, labels = predictions.images.select(test), predictions.labels[test]
    blocks = Blocks.balanced(labels, images["patient_id"])
    found = []
    for rule in ("majority", *COLUMNS):
        column = images["label" if rule == "majority" else rule].tolist()
        why = "" if rule == "majority" or all(class_of_each(of, rule) for of in training.images.values()) else (
            f"no training image has a known {rule}")
        unseen = training.answers(lambda of: ~np.isin(column, list(_known(rule, of))) & (rule != "majority"))
        right = training.answers(lambda of: _answers(rule, of, column)) == images["label"]
        # A rule has no seed: over a single replicate it repeats itself, so only patients add variance.
        units = right if len(right) > 1 else np.repeat(right, 2, axis=0)
        found.append({
            "budget": predictions.budget, "rule": rule, "metric": PRIMARY_METRIC, "n_images": len(images),
            "n_patients": blocks.n_patients, "share_unseen": None if why else float(np.mean(unseen)),
            **described(None if why else interval(units, blocks), why)})
    return found


def _known(rule: str, training: Table) -> dict[str, str]:
    return {} if rule == "majority" else class_of_each(training, rule)


def _answers(rule: str, training: Table, column: list[str]) -> np.ndarray:
    known, otherwise = _known(rule, training), majority_class(training)
    return np.array([known.get(value, otherwise) for value in column])


def majority_class(training: Table) -> str:
    """The class with most images in `training`."""
    names, counts = np.unique(training["label"], return_counts=True)
    return str(names[counts.argmax()])


def class_of_each(training: Table, column: str) -> dict[str, str]:
    """Known value of `column` -> the class of which it holds the largest share in `training`."""
    names, label = np.unique(training["label"], return_inverse=True)
    values, value = np.unique(training[column], return_inverse=True)
    counts = np.zeros((len(values), len(names)), dtype=np.int64)
    np.add.at(counts, (value, label), 1)
    best = (counts / counts.sum(axis=0)).argmax(axis=1)
    return {str(name): str(names[chosen]) for name, chosen in zip(values, best) if name}
