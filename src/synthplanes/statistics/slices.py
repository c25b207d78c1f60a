"""Estimate the confirmatory contrasts and every arm's level within slices of the test images.

A slice is the test images of one class, scanner, operator or sub-plane (of the brain, in the sources at hand); its
score has the statistic of the whole (clustered.py):

- `class` and `sub_plane` hold images of one class: the score is that class's recall, so the levels of the classes
  average to balanced accuracy.
- `scanner`, `scanner_in_training` and `operator` hold several classes: the score is balanced accuracy over ALL classes
  of the profile. A slice that lacks a class has no number: a mean over the others would compare slices of different
  difficulty under one name.
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
from synthplanes.statistics.clustered import interval
from synthplanes.statistics.metadata_rules import TrainingSets
from synthplanes.statistics.pairing import archs_with, pair, pairs_of, units
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.verdict import described

SEEN, UNSEEN, PARTLY = "seen", "unseen", "seen by some generators"


@dataclass(frozen=True)
class Slice:
    """A subset of the test images with a common property."""

    kind: str                # class | scanner | scanner_in_training | operator | sub_plane
    value: str               # the class, scanner or operator; `<class>: <sub-plane>`; SEEN, UNSEEN or PARTLY
    rows: np.ndarray         # bool [test images]
    in_training: str         # of a scanner: SEEN, UNSEEN or PARTLY; '' otherwise

    @property
    def metric(self) -> str:
        """Return `recall` or `balanced_accuracy`."""
        return "recall" if self.kind in ("class", "sub_plane") else PRIMARY_METRIC


def slice_rows(predictions: Predictions, training: TrainingSets | None = None, shared: float = 0.0
               ) -> Iterator[dict[str, Any]]:
    """Yield the rows of slices.csv: one per slice and contrast, and per slice and arm, in a fixed order.

    `shared` is the share of one pool of patients that each generator drew. Without `training` the rows do not state
    which scanners occur in training. An arm appears as the mean over architectures, or by architecture where some did
    not run it.
    """
    test = np.flatnonzero(predictions.rows("test"))
    labels, patients = predictions.labels[test], predictions.column("patient_id")[test]
    measured = list(_measured(predictions, test))
    for part in slices(predictions, training):
        blocks = Blocks.balanced(labels[part.rows], patients[part.rows])
        missing = [name for number, name in enumerate(predictions.classes) if number not in labels[part.rows]]
        lacks = (f"no test image of {', '.join(missing)}, and balanced accuracy is over all classes"
                 if missing and part.metric == PRIMARY_METRIC else "")
        for identity, values, unpaired in measured:
            why = lacks or unpaired
            yield {"budget": predictions.budget, "slice": part.kind, "value": part.value,
                   "in_training": part.in_training, "metric": part.metric, "n_images": int(part.rows.sum()),
                   "n_patients": blocks.n_patients, **identity,
                   **described(None if why else interval(values[:, part.rows], blocks, shared), why)}


def slices(predictions: Predictions, training: TrainingSets | None = None) -> list[Slice]:
    """Return the slices of the test images, by kind and value. An empty scanner, operator or sub-plane is no slice."""
    test = predictions.rows("test")
    label, scanner, operator, sub_plane = (
        predictions.column(name)[test] for name in ("label", "scanner", "operator", "sub_plane"))
    standing = _standing(scanner, training)
    planes = [(name, plane) for name in predictions.classes for plane in np.unique(sub_plane[label == name]) if plane]
    return [Slice(kind, value, rows, standing.get(value, "") if kind == "scanner" else "")
            for kind, value, rows in (
                *(("class", name, label == name) for name in predictions.classes),
                *(("scanner", name, scanner == name) for name in np.unique(scanner)),
                *(("scanner_in_training", state, np.isin(scanner, [s for s in standing if standing[s] == state]))
                  for state in (SEEN, UNSEEN, PARTLY)),
                *(("operator", name, operator == name) for name in np.unique(operator)),
                *(("sub_plane", f"{name}: {plane}", (label == name) & (sub_plane == plane)) for name, plane in planes),
            ) if value and rows.any()]


def _standing(scanners: np.ndarray, training: TrainingSets | None) -> dict[str, str]:
    """Map each scanner to whether all, none or some of the replicates (folds) that test it trained on it."""
    if training is None:
        return {}
    by_image = training.answers(lambda images: np.isin(scanners, images["scanner"].tolist()))
    seen = {name: by_image[:, scanners == name] for name in np.unique(scanners) if name}
    return {name: SEEN if by.all() else PARTLY if by.any() else UNSEEN for name, by in seen.items()}


def _measured(predictions: Predictions, test: np.ndarray) -> Iterator[tuple[dict[str, str], np.ndarray, str]]:
    """Yield (arm, reference and architecture; float64 [units, test images]; why there is no number) of every row.

    The values are the gain over the reference, or the arm's own score where the reference is ''.
    """
    for row in CONTRASTS:
        if row.role == "confirmatory":
            for scope, archs in _widest_scopes(predictions, row.arm, row.reference):
                pairing = pair(predictions, row.arm, row.reference, archs, test)
                values = (pairing.arm - pairing.reference).mean(axis=0) if pairing.pairs else pairing.arm
                yield dict(arm=row.arm, reference=row.reference, arch=scope), values, pairing.why_unpaired
    for arm in sorted(set(predictions.runs["arm"])):
        for scope, archs in _widest_scopes(predictions, arm):
            values = units(predictions, arm, archs, pairs_of(predictions, arm, archs), test).mean(axis=0)
            why = "" if len(values) > 1 else "there is a single repetition, and an interval needs two"
            yield dict(arm=arm, reference="", arch=scope), values, why


def _widest_scopes(predictions: Predictions, *arms: str) -> list[tuple[str, list[str]]]:
    """Return (name, architectures) of the mean where every architecture ran the arms, else of each that did."""
    archs = archs_with(predictions, *arms)
    if set(archs) == set(predictions.runs["arch"]):
        return [("mean", archs)]
    return [(arch, [arch]) for arch in archs]
