"""Check the convergence of the generators and of the references, so that no word is an artefact of training time.

A reference's longer arm, such as `real_long` of `real`, is the same arm at twice the updates. The check is met where
the one-sided upper 95 % limit of what that gains on the validation images is at most the margin: not an absence of
evidence, but evidence of absence. The limit is clustered by patient and seed, like the interval of a verdict. Test
images play no part.

A generator has converged where the lowest held-out loss of the last part of its training is hardly below the lowest
before. Its training ends when that loss no longer falls, or after `train_diffusion.images_seen`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from synthplanes.errors import UserError
from synthplanes.protocol.contrasts import LONGER
from synthplanes.protocol.words import CONVERGENCE_CONFIDENCE, GENERATOR_LARGEST_FALL, GENERATOR_LAST_PART
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.clustered import Interval, contrast
from synthplanes.statistics.pairing import archs_with, pair
from synthplanes.statistics.predictions import Predictions
from synthplanes.statistics.verdict import points


@dataclass(frozen=True)
class Gain:
    """What a reference gains from twice the updates, on validation images; fractions."""

    estimate: float
    upper: float             # one-sided 95 % limit; infinite where one seed leaves it unknown
    standard_error: float
    n_seeds: int             # pairs (replicate, seed)


@dataclass(frozen=True)
class ConvergenceCheck:
    """The check of one budget, for every reference whose longer arm was run."""

    gains: dict[tuple[str, str], Gain]      # (reference, architecture or `mean`)
    margin: float
    n_images: int                           # distinct validation images
    n_patients: int
    absent_classes: tuple[str, ...]         # without a validation image in some replicate, and left out there

    def met(self, reference: str, arch: str = "mean") -> bool:
        """Return whether a reference is shown to have converged."""
        gain = self.gains.get((reference, arch))
        return gain is not None and gain.upper <= self.margin

    def why_undertrained(self, reference: str, arch: str = "mean") -> str:
        """Return the reason for the refusal `undertrained`, '' where the check is met.

        The verdict on one architecture depends on its own gain, that on the mean depends on the mean gain.
        """
        if self.met(reference, arch):
            return ""
        of = f"`{reference}`" + ("" if arch == "mean" else f" of the architecture {arch}")
        gain = self.gains.get((reference, arch))
        if gain is None:
            return f"{of} was not run at twice the updates, so nothing shows that its training converged"
        return (f"{of} at twice the updates gains {points(gain.estimate, sign=True, decimals=2)} points on validation, "
                f"and up to {points(gain.upper, sign=True, decimals=2)} are not excluded, which is more than the "
                f"margin ({points(self.margin, decimals=2)} points)")

    def rows(self, budget: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of convergence.csv: of each reference the mean and each of several architectures."""
        for (reference, arch), gain in self.gains.items():
            several = sum(other == reference for other, _ in self.gains) > 2
            if arch == "mean" or several:
                yield {"budget": budget, "reference": reference, "arch": arch, "gain": gain.estimate,
                       "upper": gain.upper if np.isfinite(gain.upper) else None, "margin": self.margin,
                       "standard_error": gain.standard_error if np.isfinite(gain.upper) else None,
                       "met": gain.upper <= self.margin, "n_seeds": gain.n_seeds, "n_images": self.n_images,
                       "n_patients": self.n_patients, "absent_classes": "; ".join(self.absent_classes)}


def check_convergence(predictions: Predictions, margin: float, splits: pd.DataFrame | None = None) -> ConvergenceCheck:
    """Measure what the references of one budget gain from twice the updates.

    `splits` (records.SPLITS) says which images are validation in which replicate. It is required where there are
    several replicates, because an image held out in one replicate is a training image in another. Raises `UserError`
    where the architectures ran a longer arm with different seeds or its reference lacks one of them, and where the
    validation images of the predictions are not those of `splits`.
    """
    if splits is not None:
        _check_validation_images(predictions, splits)
    held_out = {replicate: _validation(predictions, replicate, splits)
                for replicate in sorted(set(predictions.runs["replicate"].tolist()))}
    gains = {}
    for reference, longer in LONGER.items():
        archs = archs_with(predictions, longer)
        if archs and archs != archs_with(predictions, reference):
            raise UserError(f"At budget {predictions.budget} the architectures ran `{longer}` with different seeds: "
                            "run the stages that train and predict them.")
        for scope, own in (("mean", archs), *((arch, [arch]) for arch in archs)) if archs else ():
            gains[reference, scope] = _gain(predictions, reference, longer, own, held_out)
    used = np.any(list(held_out.values()), axis=0)
    absent = {name for c, name in enumerate(predictions.classes) for rows in held_out.values()
              if not np.any(predictions.labels[rows] == c)}
    return ConvergenceCheck(gains, margin, int(used.sum()), predictions.images["patient_id"][used].nunique(),
                            tuple(sorted(absent)))


def why_unconverged(curve: pd.DataFrame) -> str:
    """Return the reason for the refusal `generator unconverged`, '' where all generators of one budget have converged.

    `curve` holds the budget's rows of records.GENERATOR_CURVE; without a row nothing shows that a generator converged.
    """
    falls = {replicate: _fall(own) for replicate, own in curve.groupby("replicate")}
    worst = max(falls, key=lambda replicate: falls[replicate], default=None)
    if worst is None:
        return "no learning curve shows that the generator has converged"
    if falls[worst] <= GENERATOR_LARGEST_FALL:
        return ""
    return (f"the held-out loss of {sum(fall > GENERATOR_LARGEST_FALL for fall in falls.values())} of {len(falls)} "
            f"generator(s) fell in the last {GENERATOR_LAST_PART:.0%} of training by more than "
            f"{GENERATOR_LARGEST_FALL:.0%}, at most by {falls[worst]:.1%}, so they were still learning: raise "
            "train_diffusion.images_seen")


def _fall(curve: pd.DataFrame) -> float:
    """Return by how much the held-out loss of one generator fell in the last part, relative; infinite if unknown."""
    last = curve["images_seen"] > (1 - GENERATOR_LAST_PART) * curve["images_seen"].max()
    before, after = (curve["held_out_loss"][rows].min() for rows in (~last, last))
    return float(1 - after / before) if before > 0 else float("inf")


def _gain(predictions: Predictions, reference: str, longer: str, archs: Sequence[str],
          held_out: dict[int, np.ndarray]) -> Gain:
    """Average the gains of all replicates, each on its own validation images.

    Replicates may share validation patients, so their errors are taken as fully correlated: the standard error of the
    mean is the mean of the standard errors.
    """
    parts: list[Interval] = []
    estimates, n_seeds = [], 0
    for replicate, rows in held_out.items():
        images = np.flatnonzero(rows)
        pairing = pair(predictions.of_replicate(replicate), longer, reference, archs, images)
        if pairing.why_unpaired and pairing.n_seeds > 1:
            raise UserError(f"At budget {predictions.budget} {pairing.why_unpaired}: run the stages that train and "
                            "predict them.")
        blocks = Blocks.balanced(predictions.labels[images], predictions.column("patient_id")[images])
        n_seeds += pairing.n_seeds
        if not pairing.why_unpaired:
            parts.append(contrast(pairing.arm, pairing.reference, blocks))
            estimates.append(parts[-1].estimate)
    if not parts:
        return Gain(float("nan"), float("inf"), float("nan"), n_seeds)
    estimate, error = float(np.mean(estimates)), float(np.mean([part.standard_error for part in parts]))
    degrees = min(part.degrees_of_freedom for part in parts)
    return Gain(estimate, estimate + float(special.stdtrit(degrees, CONVERGENCE_CONFIDENCE)) * error, error, n_seeds)


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
