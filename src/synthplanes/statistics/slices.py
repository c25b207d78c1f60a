"""Estimate the confirmatory contrasts and every arm's level within slices of the test images.

A slice is the test images of one class, scanner, operator or sub-plane (of the brain, in the sources at hand); its
score has the statistic of the whole (clustered.py):

- `class` and `sub_plane` hold images of one class: the score is that class's recall, so the levels of the classes
  average to balanced accuracy.
- `scanner`, `scanner_in_training` and `operator` hold several classes: the score is balanced accuracy over ALL classes
  of the profile. A slice that lacks a class has no number, because a mean over its other classes
  would compare slices of different difficulty under one name.
- `scanner_in_training` pools the scanners in the training images, the others and, where generators were trained
  on different patients, those in the training images of some. Validation images do not count.

Where there are too few patients, by the constants of a verdict, a reason takes the place of the number
(verdict.described). A recall near 0 or 1 has few patients who show its spread, so its interval is too narrow. Slices
are descriptive. Their size is not planned for a test, so they have no word and no p-value and are not part of Holm's
family. Of many intervals one in twenty misses its parameter by chance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthplanes.protocol.contrasts import CONTRASTS
from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import contrast, level
from synthplanes.statistics.pairing import archs_with, pair, pairs_of, units
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.training_sets import TrainingSets
from synthplanes.statistics.verdict import described

SEEN, UNSEEN, PARTLY = "seen", "unseen", "seen by some generators"


@dataclass(frozen=True)
class Slice:
    """A subset of the test images with a common property."""

    kind: str                # class | scanner | scanner_in_training | operator | sub_plane
    value: str               # the class, scanner or operator; `<class>: <sub-plane>`; SEEN, UNSEEN or PARTLY
    rows: np.ndarray         # bool [test images]
    metric: str              # recall | balanced_accuracy
    in_training: str         # of a scanner: SEEN, UNSEEN or PARTLY; '' otherwise
    why_no_number: str       # a reason, empty where the score is defined


@dataclass(frozen=True)
class _Measured:
    """The test images of one arm, or of one arm and its reference, from which every slice is taken."""

    identity: dict[str, str]      # arm, reference ('' for a level), arch
    arm: np.ndarray               # float64 [architectures, units, test images], empty where unpaired
    reference: np.ndarray | None  # of the same shape; None for a level
    why_no_number: str


def slice_rows(predictions: Predictions, training: TrainingSets | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of slices.csv: one per slice and contrast, and per slice and arm, in a fixed order.

    Without `training` the rows do not state which scanners occur in training. An arm appears as the mean over
    architectures, or by architecture where some did not run it.
    """
    test = np.flatnonzero(predictions.rows("test"))
    labels = predictions.labels[test]
    patients = np.unique(predictions.column("patient_id")[test], return_inverse=True)[1]
    measured = list(_measured(predictions, test))
    for part in slices(predictions, training):
        blocks = Blocks.balanced(labels[part.rows], patients[part.rows])
        yield from ({"budget": predictions.budget, "slice": part.kind, "value": part.value,
                     "in_training": part.in_training, "metric": part.metric, "n_images": int(part.rows.sum()),
                     "n_patients": blocks.n_patients, **each.identity, **_numbers(part, each, blocks)}
                    for each in measured)


def slices(predictions: Predictions, training: TrainingSets | None = None) -> list[Slice]:
    """Return the slices of the test images, by kind and value. An empty scanner, operator or sub-plane is no slice."""
    test = predictions.rows("test")
    label, scanner, operator, sub_plane = (
        predictions.column(name)[test] for name in ("label", "scanner", "operator", "sub_plane"))
    parts = [Slice("class", name, label == name, "recall", "", "") for name in predictions.classes]
    standing = _standing(scanner, training)
    parts += [_several(predictions, label, "scanner", name, scanner == name, standing.get(name, ""))
              for name in _values(scanner)]
    parts += [_several(predictions, label, "scanner_in_training", state,
                       np.isin(scanner, [name for name, its in standing.items() if its == state]))
              for state in (SEEN, UNSEEN, PARTLY) if state in standing.values()]
    parts += [_several(predictions, label, "operator", name, operator == name) for name in _values(operator)]
    for name in predictions.classes:
        planes = np.where(label == name, sub_plane, "")
        parts += [Slice("sub_plane", f"{name}: {plane}", planes == plane, "recall", "", "")
                  for plane in _values(planes)]
    return parts


def _values(column: np.ndarray) -> list[str]:
    return [value for value in sorted(set(column.tolist())) if value]


def _standing(scanners: np.ndarray, training: TrainingSets | None) -> dict[str, str]:
    """Map each scanner to whether all, none or some of the replicates (folds) that test it trained on it."""
    if training is None:
        return {}
    by_image = training.answers(lambda images: np.isin(scanners, images["scanner"].tolist()))
    seen = {name: by_image[:, scanners == name] for name in _values(scanners)}
    return {name: SEEN if by.all() else PARTLY if by.any() else UNSEEN for name, by in seen.items()}


def _several(predictions: Predictions, label: np.ndarray, kind: str, value: str, rows: np.ndarray,
             in_training: str = "") -> Slice:
    """Return a slice with images of several classes."""
    missing = [name for name in predictions.classes if name not in label[rows]]
    why = f"no test image of {', '.join(missing)}, and balanced accuracy is over all classes" if missing else ""
    return Slice(kind, value, rows, PRIMARY_METRIC, in_training, why)


def _measured(predictions: Predictions, test: np.ndarray) -> Iterator[_Measured]:
    for row in CONTRASTS:
        if row.role == "confirmatory":
            for scope, archs in _widest_scopes(predictions, row.arm, row.reference):
                pairing = pair(predictions, row.arm, row.reference, archs, test)
                yield _Measured(dict(arm=row.arm, reference=row.reference, arch=scope), pairing.arm,
                                pairing.reference, pairing.why_unpaired)
    for arm in sorted(set(predictions.runs["arm"])):
        for scope, archs in _widest_scopes(predictions, arm):
            correct = units(predictions, arm, archs, pairs_of(predictions, arm, archs), test)
            why = "" if correct.shape[1] > 1 else "there is a single repetition, and an interval needs two"
            yield _Measured(dict(arm=arm, reference="", arch=scope), correct, None, why)


def _widest_scopes(predictions: Predictions, *arms: str) -> list[tuple[str, list[str]]]:
    """Return (name, architectures) of the mean where every architecture ran the arms, else of each that did."""
    archs = archs_with(predictions, *arms)
    if set(archs) == set(predictions.runs["arch"]):
        return [("mean", archs)]
    return [(arch, [arch]) for arch in archs]


def _numbers(part: Slice, each: _Measured, blocks: Blocks) -> dict[str, Any]:
    if why := part.why_no_number or each.why_no_number:
        return described(None, why)
    if each.reference is None:
        return described(level(each.arm[..., part.rows], blocks))
    return described(contrast(each.arm[..., part.rows], each.reference[..., part.rows], blocks))
