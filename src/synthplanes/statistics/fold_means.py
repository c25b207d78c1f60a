"""Each fold's own difference, and what they say together when a fold counts as one observation.

In cross-validation the interval that decides clusters by patient and takes the folds' generators and training sets as
given. Here the fold is the unit: its test patients, generator and classifiers vary together, and t has as many degrees
of freedom as there are folds less one. Folds share training images, so these differences depend on each other by an
amount that nothing estimates without bias (Bengio & Grandvalet 2004). It stands beside the interval and never decides.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from synthplanes.statistics.blocks import Blocks
from synthplanes.statistics.budget import BudgetVerdict
from synthplanes.statistics.clustered import CONFIDENCE
from synthplanes.protocol.settings import PRIMARY_METRIC


def fold_records(judged: BudgetVerdict, fold: np.ndarray) -> Iterator[dict]:
    """One record per naive or confirmatory contrast in the mean over architectures; `fold`, int [test images], is the
    fold that tests each. A fold's estimate is over the classes that it tests: `classes` says how many."""
    images = judged.predictions.images.select(judged.test)
    for row, scope, _, pairing in judged.pairings():
        if row.role not in ("naive", "confirmatory") or scope != "mean" or pairing.why_unpaired:
            continue
        gains = (pairing.arm - pairing.reference).mean(axis=(0, 1))                    # [test images]
        each = []
        for number in np.unique(fold).tolist():
            own = fold == number
            blocks = Blocks.balanced(images["label"][own], images["patient_id"][own])
            each.append({"fold": number, "scanners": sorted(set(images["scanner"][own].tolist())),
                         "images": int(own.sum()), "patients": blocks.n_patients, "classes": blocks.n_strata,
                         "estimate": float(blocks.mean(gains[None, own])[0])})
        estimates = np.array([one["estimate"] for one in each])
        found = stats.ttest_1samp(estimates, 0)
        interval = found.confidence_interval(CONFIDENCE)
        yield {"budget": judged.budget, "arch": scope, "metric": PRIMARY_METRIC, "contrast": row.name, "arm": row.arm,
               "reference_arm": row.reference, "estimate": float(estimates.mean()), "low": float(interval.low),
               "high": float(interval.high), "p_value": float(found.pvalue), "folds": each}
