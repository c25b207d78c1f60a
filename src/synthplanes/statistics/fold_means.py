"""Estimate each fold's own difference, and their mean with a fold as one observation.

In cross-validation the interval of the verdict clusters by patient and takes the folds' generators and training sets as
given. Here the fold is the unit: its test patients, generator and classifiers vary together, and t has as many degrees
of freedom as there are folds less one. Folds share training images, so these differences depend on each other by an
amount that nothing estimates without bias (Bengio & Grandvalet 2004). The result is reported beside the interval, and
no verdict depends on it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from synthplanes.protocol.words import CONFIDENCE
from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.budget import BudgetVerdict


def fold_rows(verdict: BudgetVerdict, fold: np.ndarray | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of folds.csv: of each naive or confirmatory contrast, one per fold and their mean.

    `fold`, int [test images], is the fold that tests each; without folds there are no rows. Contrasts are in the mean
    over architectures. A fold's estimate is over the `n_classes` classes that it tests.
    """
    if fold is None:
        return
    label, patient, scanner = (
        verdict.predictions.column(name)[verdict.test] for name in ("label", "patient_id", "scanner"))
    for row, scope, _, pairing in verdict.pairings():
        if row.role not in ("naive", "confirmatory") or scope != "mean" or pairing.why_unpaired:
            continue
        identity = {"budget": verdict.budget, "contrast": row.name, "arm": row.arm, "reference": row.reference}
        gains = (pairing.arm - pairing.reference).mean(axis=(0, 1))                    # [test images]
        estimates = []
        for number in np.unique(fold).tolist():
            own = fold == number
            blocks = Blocks.balanced(label[own], patient[own])
            estimates.append(float(blocks.mean(gains[None, own])[0]))
            yield {**identity, "fold": str(number), "scanners": "; ".join(sorted(set(scanner[own].tolist()))),
                   "n_images": int(own.sum()), "n_patients": blocks.n_patients, "n_classes": blocks.n_strata,
                   "estimate": estimates[-1], "low": None, "high": None, "p_value": None}
        test = stats.ttest_1samp(np.array(estimates), 0)
        interval = test.confidence_interval(CONFIDENCE)
        yield {**identity, "fold": "mean", "scanners": "; ".join(sorted(set(scanner.tolist()))),
               "n_images": len(fold), "n_patients": len(set(patient.tolist())), "n_classes": len(set(label.tolist())),
               "estimate": float(np.mean(estimates)), "low": float(interval.low), "high": float(interval.high),
               "p_value": float(test.pvalue)}
