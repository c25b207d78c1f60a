"""Score classifiers: pure functions of probabilities float [n, k] and labels int [n] in 0..k-1.

All scores are fractions in [0, 1]. A class without an image leaves recall, macro F1 and macro AUROC undefined, so it is
refused by name and never skipped.
"""

from collections.abc import Sequence

import numpy as np
from sklearn import metrics

from synthplanes.errors import UserError

CALIBRATION_BINS = 15  # Guo et al. 2017, "On calibration of modern neural networks"


def all_scores(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Return every score of one classifier by its name, with `recall/<class>` once per class.

    The prediction is the most probable class, the first of equals. AUROC is one class versus the rest, averaged over
    classes. Raises `UserError` for fewer than two classes, and for a class without an image.
    """
    check_classes(labels, classes)
    if len(classes) < 2:
        raise UserError("The area under the ROC curve needs at least two classes: name more classes.")
    predicted = probabilities.argmax(axis=1)
    _, recalls, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0)  # of the precision of a class never predicted
    # As one indicator column per class: the multi-class form insists on sums of exactly 1.
    auroc = metrics.roc_auc_score(np.eye(len(classes), dtype=int)[labels], probabilities, average="macro")
    return {
        "accuracy":          float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recalls.mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "macro_auroc":       float(auroc),
        "macro_f1":          float(f1.mean()),
        **{f"recall/{name}": float(value) for name, value in zip(classes, recalls, strict=True)},
    }


def balanced_accuracy_of(correct: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean, over the classes that `labels` int [n] hold, of the share of `correct` bool [n]."""
    counts = np.bincount(labels)
    return float((np.bincount(labels, weights=correct)[counts > 0] / counts[counts > 0]).mean())


def mean_confusion(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return the mean over classifiers, [runs, n, k], of the share of each class that is predicted as each.

    float64 [k, k]: rows are labels and sum to 1, columns predictions; the mean of the diagonal is the mean balanced
    accuracy.
    """
    check_classes(labels, classes)
    return np.mean([metrics.confusion_matrix(labels, run.argmax(axis=1), labels=range(len(classes)), normalize="true")
                    for run in probabilities], axis=0)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error of the top label over 15 equally wide bins (lower, upper] of confidence.

    ECE = sum over bins of |sum of confidences - number correct| / n.
    """
    confidence, correct, bins = _top_labels(probabilities, labels)
    return float(np.abs(np.bincount(bins, weights=confidence - correct)).sum() / len(labels))


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return `count`, mean `confidence` and `accuracy` of the images in each of those bins: float64 [15] each.

    The latter two are NaN in an empty bin.
    """
    confidence, correct, bins = _top_labels(probabilities, labels)
    count, confidences, hits = (np.bincount(bins, weights=weights, minlength=CALIBRATION_BINS)
                                for weights in (np.ones(len(bins)), confidence, correct))
    with np.errstate(invalid="ignore"):
        return {"count": count, "confidence": confidences / count, "accuracy": hits / count}


def _top_labels(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each image's largest probability float64, whether its class is the label, and its bin from 0."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return confidence, probabilities.argmax(axis=1) == labels, bins


def check_classes(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise `UserError` with the name of a class that has no image."""
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        raise UserError(f"The class '{classes[int(counts.argmin())]}' has no image among the {len(labels)} test "
                        "images: take a larger or another split, or leave the class out.")
