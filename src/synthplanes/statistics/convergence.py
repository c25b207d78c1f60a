"""The plateau gate: is the real arm trained to the end, so that a gain is not an artefact of the time limit?

`real_long` is `real` at twice the updates. What it gains on the validation images (balanced accuracy, mean over
architectures and over the seeds of `real_long`, which may be fewer than those of `real`) may be at most half the
margin. Test images play no part.
"""

from dataclasses import dataclass

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import Table
from synthplanes.statistics.contrasts import Pair, archs_with, pairs_of, runs_of
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.verdict import points


@dataclass(frozen=True)
class Plateau:
    """The gate of one budget; gains are fractions. `gain` is None where `real_long` was not run."""

    gain: float | None
    standard_error: float | None            # over the paired seeds; None with fewer than two
    limit: float                            # half the margin
    gain_by_arch: dict[str, float]
    n_seeds: int                            # pairs (replicate, seed)
    n_images: int                           # distinct validation images
    n_patients: int
    absent_classes: tuple[str, ...]         # without a validation image in some replicate, and left out there

    @property
    def met(self) -> bool:
        return self.gain is not None and self.gain <= self.limit

    def why_undertrained(self, arch: str = "mean") -> str:
        """The reason for the refusal `undertrained`, empty where the gate is met: of the mean over architectures,
        or of one architecture, whose own gain decides what is said of it alone."""
        gain = self.gain if arch == "mean" else self.gain_by_arch.get(arch)
        of = "" if arch == "mean" else f" of the architecture {arch}"
        if gain is None:
            return f"`real`{of} was not run at twice the updates, so nothing shows that it had reached its plateau"
        if gain > self.limit:
            return (f"`real`{of} at twice the updates gains {points(gain, decimals=2)} points on "
                    f"validation, more than half the margin ({points(self.limit, decimals=2)} points)")
        return ""


def measure(predictions: Predictions, margin: float, splits: Table | None = None) -> Plateau:
    """The gate of one budget.

    `splits` (records.SPLITS) says which images are validation in which replicate. It is required where there
    are several replicates, because an image held out in one was trained on in another.
    Raises `UserError` where the architectures ran `real_long` with different seeds or `real` lacks one of them, and
    where the validation images of the predictions are not those of `splits`.
    """
    archs = sorted(set(predictions.runs["arch"].tolist()))
    if not archs_with(predictions, "real_long"):
        return Plateau(None, None, margin / 2, {}, 0, 0, 0, ())
    pairs = pairs_of(predictions, "real_long", archs)
    for arch in archs:
        if alone := set(pairs) - set(runs_of(predictions, "real", arch)):
            raise UserError(f"At budget {predictions.budget} and architecture {arch} `real` lacks {len(alone)} of the "
                            f"{len(pairs)} seeds of `real_long`: run the stages that train and predict them.")
    if splits is not None:
        _refuse_other_images(predictions, splits)
    held_out = {replicate: _validation(predictions, replicate, splits) for replicate in {r for r, _ in pairs}}

    def score(arm: str, arch: str, pair: Pair) -> float:
        return _recall_mean(predictions, runs_of(predictions, arm, arch)[pair], held_out[pair[0]])

    gains = np.array([[score("real_long", arch, pair) - score("real", arch, pair) for pair in pairs]
                      for arch in archs])                                          # [architectures, pairs]
    used = np.any(list(held_out.values()), axis=0)
    absent = {name for c, name in enumerate(predictions.classes) for rows in held_out.values()
              if not np.any(predictions.labels[rows] == c)}
    error = gains.mean(axis=0).std(ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else None
    return Plateau(
        gain=float(gains.mean()), standard_error=None if error is None else float(error), limit=margin / 2,
        gain_by_arch=dict(zip(archs, gains.mean(axis=1).tolist())), n_seeds=len(pairs),
        n_images=int(used.sum()), n_patients=len(np.unique(predictions.images["patient_id"][used])),
        absent_classes=tuple(sorted(absent)))


def _refuse_other_images(predictions: Predictions, splits: Table) -> None:
    """Predictions and splits must name the same validation images, over all replicates of the budget."""
    own = (splits["budget"] == predictions.budget) & (splits["role"] == "validation")
    planned = set(splits["image_id"][own].tolist())
    predicted = set(predictions.images["image_id"][predictions.rows("validation")].tolist())
    for images, fault, whose in ((planned - predicted, "lack", "names"),
                                 (predicted - planned, "hold", "does not name")):
        if images:
            raise UserError(f"The predictions of budget {predictions.budget} {fault} {len(images)} validation image(s) "
                            f"that splits.csv {whose}, the first being '{min(images)}': run predict again.")


def _validation(predictions: Predictions, replicate: int, splits: Table | None) -> np.ndarray:
    """bool [images]: what this replicate held out."""
    rows = predictions.rows("validation")
    if splits is None:
        if len(set(predictions.runs["replicate"].tolist())) > 1:
            raise UserError(f"Budget {predictions.budget} has several replicates, each with its own "
                            "validation images: pass splits.csv to evaluate.")
    else:
        own = ((splits["budget"] == predictions.budget) & (splits["replicate"] == replicate)
               & (splits["role"] == "validation"))
        rows = rows & np.isin(predictions.images["image_id"], splits["image_id"][own])
    if not rows.any():
        raise UserError(f"Budget {predictions.budget}, replicate {replicate} has no validation image among "
                        "the predictions: run prepare and predict again.")
    return rows


def _recall_mean(predictions: Predictions, run: int, rows: np.ndarray) -> float:
    """Balanced accuracy over the classes that `rows` hold."""
    labels, correct = predictions.labels[rows], predictions.correct[run, rows]
    counts = np.bincount(labels)
    return float((np.bincount(labels, weights=correct)[counts > 0] / counts[counts > 0]).mean())
