"""Scores of one classifier: pure functions of probabilities float [n, k] and labels int [n] in 0..k-1.

All scores are fractions in [0, 1]. A class without a row among the labels leaves balanced accuracy, macro F1
and macro AUROC undefined, so it is refused by name and never skipped.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from synthplanes.errors import UserError

CALIBRATION_BINS = 15  # Guo et al. 2017, "On calibration of modern neural networks"


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose most probable class (the first of equals) is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def recalls(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 [k]: the share of each class's rows that were recognised."""
    confusion = confusion_matrix(probabilities, labels)
    return np.diag(confusion) / confusion.sum(axis=1)


def balanced_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of the recalls: accuracy as if all classes were equally frequent."""
    return float(recalls(probabilities, labels).mean())


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN)."""
    confusion = confusion_matrix(probabilities, labels)
    return float(np.mean(2 * np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1))))


def macro_auroc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of the one-versus-rest area under the ROC curve, ties counted as one half.

    AUROC_c = (R_c - n_c (n_c + 1) / 2) / (n_c (n - n_c)), with R_c the sum of the mid-ranks of class c's own
    rows among all probabilities of class c (Mann-Whitney).
    """
    counts = class_counts(labels, probabilities.shape[1])
    n = len(labels)
    if len(counts) < 2:
        raise UserError("The area under the ROC curve needs at least two classes: name more classes.")
    ranks = rankdata(probabilities, axis=0)
    rank_sums = np.array([ranks[labels == c, c].sum() for c in range(len(counts))])
    return float(np.mean((rank_sums - counts * (counts + 1) / 2) / (counts * (n - counts))))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of the top label over 15 equally wide bins (lower, upper] of confidence.

    ECE = sum over bins of |sum of confidences - number correct| / n.
    """
    confidence, correct, bins = _top_labels(probabilities, labels)
    return float(np.abs(np.bincount(bins, weights=confidence - correct)).sum() / len(labels))


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """float64 [15] per name: `count` of the rows in each of those bins, their mean `confidence` and `accuracy`
    (NaN in an empty bin)."""
    confidence, correct, bins = _top_labels(probabilities, labels)
    count, sure, right = (np.bincount(bins, weights=weights, minlength=CALIBRATION_BINS)
                          for weights in (np.ones(len(bins)), confidence, correct))
    with np.errstate(invalid="ignore"):
        return {"count": count, "confidence": sure / count, "accuracy": right / count}


def _top_labels(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: the largest probability float64, whether its class is the label, and its bin from 0."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return confidence, probabilities.argmax(axis=1) == labels, bins


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int [k, k]: rows are labels, columns the most probable class; every class must have a row."""
    k = probabilities.shape[1]
    class_counts(labels, k)
    return np.bincount(labels * k + probabilities.argmax(axis=1), minlength=k * k).reshape(k, k)


def mean_confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 [k, k] of several classifiers [runs, n, k]: the mean share of a row's class taken for a column's.

    Rows sum to 1, and the mean of the diagonal is the mean balanced accuracy.
    """
    counts = np.mean([confusion_matrix(one, labels) for one in probabilities], axis=0)
    return counts / counts.sum(axis=1, keepdims=True)


def class_counts(labels: np.ndarray, k: int, classes: Sequence[str] | None = None,
                 where: str = "") -> np.ndarray:
    """int [k]: rows per class; a class without rows raises `UserError` with its name (or its number)."""
    counts = np.bincount(labels, minlength=k)
    if not counts.all():
        absent = int(np.argmin(counts > 0))
        name = f"'{classes[absent]}'" if classes else f"number {absent}"
        kind = f"{where} images" if where else "images"
        raise UserError(f"The class {name} has no image among the {len(labels)} {kind}: "
                        "take a larger or another split, or leave the class out.")
    return counts


def all_scores(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str],
               where: str = "") -> dict[str, float]:
    """Every score by name; `recall/<class>` once per class. `where` names the rows in an error."""
    class_counts(labels, len(classes), classes, where)
    recall = recalls(probabilities, labels)
    return {
        "accuracy":          accuracy(probabilities, labels),
        "balanced_accuracy": float(recall.mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "macro_auroc":       macro_auroc(probabilities, labels),
        "macro_f1":          macro_f1(probabilities, labels),
        **{f"recall/{name}": float(value) for name, value in zip(classes, recall)},
    }
