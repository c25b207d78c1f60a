"""Check the convergence of the arm `real`, so that no gain is an artefact of its training time.

`real_long` is `real` at twice the updates. Its gain on the validation images (balanced accuracy, mean over
architectures and over the seeds of `real_long`, which may be fewer than those of `real`) may be at most half the
margin. Test images play no part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.statistics.pairing import Pair, archs_with, pairs_of, runs_of
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.scores import balanced_accuracy_of
from synthplanes.statistics.verdict import points


@dataclass(frozen=True)
class ConvergenceCheck:
    """The check of one budget; gains are fractions. `gain` is None where `real_long` was not run."""

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
        """Return whether the gain is within the limit."""
        return self.gain is not None and self.gain <= self.limit

    def why_undertrained(self, arch: str = "mean") -> str:
        """Return the reason for the refusal `undertrained`, '' where the check is met.

        The verdict on one architecture depends on its own gain, that on the mean depends on the mean gain.
        """
        gain = self.gain if arch == "mean" else self.gain_by_arch.get(arch)
        of = "" if arch == "mean" else f" of the architecture {arch}"
        if gain is None:
            return f"`real`{of} was not run at twice the updates, so nothing shows that its training converged"
        if gain > self.limit:
            return (f"`real`{of} at twice the updates gains {points(gain, decimals=2)} points on "
                    f"validation, more than half the margin ({points(self.limit, decimals=2)} points)")
        return ""

    def rows(self, budget: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of convergence.csv: the mean and, where there are several, each architecture."""
        scopes = {"mean": self.gain, **(self.gain_by_arch if len(self.gain_by_arch) > 1 else {})}
        for arch, gain in scopes.items():
            yield {"budget": budget, "arch": arch, "gain": gain, "limit": self.limit,
                   "standard_error": self.standard_error if arch == "mean" else None,
                   "met": gain is not None and gain <= self.limit, "n_seeds": self.n_seeds, "n_images": self.n_images,
                   "n_patients": self.n_patients, "absent_classes": "; ".join(self.absent_classes)}


def check_convergence(predictions: Predictions, margin: float, splits: pd.DataFrame | None = None) -> ConvergenceCheck:
    """Measure the gain of `real` from twice the updates at one budget.

    `splits` (records.SPLITS) says which images are validation in which replicate. It is required where there are
    several replicates, because an image held out in one replicate is a training image in another. Raises `UserError`
    where the architectures ran `real_long` with different seeds or `real` lacks one of them, and where the validation
    images of the predictions are not those of `splits`.
    """
    archs = sorted(set(predictions.runs["arch"]))
    if not archs_with(predictions, "real_long"):
        return ConvergenceCheck(None, None, margin / 2, {}, 0, 0, 0, ())
    pairs = pairs_of(predictions, "real_long", archs)
    for arch in archs:
        if alone := set(pairs) - set(runs_of(predictions, "real", arch)):
            raise UserError(f"At budget {predictions.budget} and architecture {arch} `real` lacks {len(alone)} of the "
                            f"{len(pairs)} seeds of `real_long`: run the stages that train and predict them.")
    if splits is not None:
        _check_validation_images(predictions, splits)
    held_out = {replicate: _validation(predictions, replicate, splits) for replicate in {r for r, _ in pairs}}

    def score(arm: str, arch: str, pair: Pair) -> float:
        run, rows = runs_of(predictions, arm, arch)[pair], held_out[pair[0]]
        return balanced_accuracy_of(predictions.correct[run, rows], predictions.labels[rows])

    gains = np.array([[score("real_long", arch, pair) - score("real", arch, pair) for pair in pairs]
                      for arch in archs])                                          # [architectures, pairs]
    used = np.any(list(held_out.values()), axis=0)
    absent = {name for c, name in enumerate(predictions.classes) for rows in held_out.values()
              if not np.any(predictions.labels[rows] == c)}
    error = float(gains.mean(axis=0).std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else None
    return ConvergenceCheck(
        gain=float(gains.mean()), standard_error=error, limit=margin / 2,
        gain_by_arch=dict(zip(archs, gains.mean(axis=1).tolist(), strict=True)), n_seeds=len(pairs),
        n_images=int(used.sum()), n_patients=predictions.images["patient_id"][used].nunique(),
        absent_classes=tuple(sorted(absent)))


def _check_validation_images(predictions: Predictions, splits: pd.DataFrame) -> None:
    """Raise `UserError` unless predictions and splits name the same validation images, over all replicates."""
    planned = set(splits["image_id"][(splits["budget"] == predictions.budget) & (splits["role"] == "validation")])
    predicted = set(predictions.images["image_id"][predictions.rows("validation")])
    for images, fault, whose in ((planned - predicted, "lack", "names"),
                                 (predicted - planned, "hold", "does not name")):
        if images:
            raise UserError(f"The predictions of budget {predictions.budget} {fault} {len(images)} validation image(s) "
                            f"that splits.csv {whose}, the first being '{min(images)}': run predict again.")


def _validation(predictions: Predictions, replicate: int, splits: pd.DataFrame | None) -> np.ndarray:
    """Return which images a replicate held out: bool [images]."""
    rows = predictions.rows("validation")
    if splits is None:
        if predictions.runs["replicate"].nunique() > 1:
            raise UserError(f"Budget {predictions.budget} has several replicates, each with its own "
                            "validation images: pass splits.csv to evaluate.")
    else:
        own = splits["image_id"][(splits["budget"] == predictions.budget) & (splits["replicate"] == replicate)
                                 & (splits["role"] == "validation")]
        rows = rows & predictions.images["image_id"].isin(own).to_numpy()
    if not rows.any():
        raise UserError(f"Budget {predictions.budget}, replicate {replicate} has no validation image among "
                        "the predictions: run prepare and predict again.")
    return rows
