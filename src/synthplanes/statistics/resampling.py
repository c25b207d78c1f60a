"""Resample a contrast without assuming a distribution: a bootstrap interval and an exact sign-flip test.

Both are reported beside the interval of `clustered`, and no verdict depends on them:

- The bootstrap draws patients and units (seeds, or generators where there are several) with replacement, each side
  on its own, and a table entry weighs the product of its patient's and its unit's counts (the pigeonhole bootstrap,
  Owen 2007, Annals of Applied Statistics 1, 386-411). Its percentiles ignore how few units there are: of
  U units they reflect (U - 1) / U of the variance and have no t tails, so with 6 seeds it covers too little where seeds
  dominate (a nominal 95 % interval covers about 87 %); where neither side dominates it counts the
  interaction up to three times and covers too much.
- The sign-flip test takes the patients as given: it tests whether the units' effects are symmetric about 0, and
  so applies to these test patients only. It needs no variance estimate, and its smallest p-value is 2 / 2^U.

For the family of secondary contrasts the sign-flip test is adjusted by the largest statistic (single-step maxT,
Westfall and Young 1993): a unit's sign is common to all contrasts of the family, so their dependence is kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthplanes import seeds
from synthplanes.protocol.words import CONFIDENCE
from synthplanes.statistics.blocks import Blocks

N_BOOTSTRAP = 2000
BATCH = 200        # draws at a time: bounds memory, changes nothing
MAX_UNITS = 16     # of a sign-flip test: 2^15 patterns are tried one by one
TIES = 1e-9        # statistics nearer to each other than this share are equal


def resampled_scores(correct: np.ndarray, blocks: Blocks, root_seed: int, n_draws: int = N_BOOTSTRAP) -> np.ndarray:
    """Return the mean of every row of `correct` [runs, images] on resampled patients: float64 [draws, runs].

    Every draw takes as many patients as there are, with all their images, and weighs the strata alike, as the score
    itself does. A draw without a patient of some stratum has no score and is NaN, and so are all draws where a stratum
    has a single patient, whose chance nothing can show. The sums count whole numbers where `correct` is boolean, so
    they are the same on every machine.
    """
    n_runs = len(correct)
    if blocks.patients_in_stratum.min() < 2:
        return np.full((n_draws, n_runs), np.nan)
    right = np.zeros((blocks.n_patients, n_runs, blocks.n_strata))
    right[blocks.patient, :, blocks.stratum] = blocks.totals(correct).T
    images = np.zeros((blocks.n_patients, blocks.n_strata))
    images[blocks.patient, blocks.stratum] = blocks.size
    draw = seeds.generator(root_seed, "bootstrap patients")
    scores = np.empty((n_draws, n_runs))
    for start in range(0, n_draws, BATCH):
        counts = _counts(draw, min(BATCH, n_draws - start), blocks.n_patients)
        drawn = counts @ images                                                    # [draws, strata]
        drawn[drawn == 0] = np.nan
        hits = (counts @ right.reshape(blocks.n_patients, -1)).reshape(len(counts), n_runs, blocks.n_strata)
        scores[start:start + len(counts)] = (hits / drawn[:, None]).mean(axis=2)
    return scores


def bootstrap_interval(gains: np.ndarray, root_seed: int) -> tuple[float | None, float | None, int]:
    """Return the percentile interval of the mean over units (low, high), and how many draws it rests on.

    `gains` [draws, units] are the units' effects on resampled patients; the units are resampled here, with as many
    draws. Draws with NaN are left out. The limits are None where none remains.
    """
    n_draws, n_units = gains.shape
    weights = _counts(seeds.generator(root_seed, "bootstrap units", n_units), n_draws, n_units) / n_units
    means = (weights * gains).sum(axis=1)
    means = means[~np.isnan(means)]
    if not len(means):
        return None, None, 0
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high), len(means)


def sign_flip_p(effects: Sequence[float] | np.ndarray) -> float | None:
    """Return the two-sided p-value of the mean of `effects` [units]; None beyond MAX_UNITS units.

    It is the share of all sign patterns whose mean is as far from 0.
    """
    return family_wise_p([dict(enumerate(effects))])[0]


def family_wise_p(family: Sequence[Mapping[Any, float]]) -> list[float | None]:
    """Return the p-value of each contrast of a family, adjusted for the largest statistic of all.

    A contrast maps its units to their effects x. Its statistic is |sum of x| / sqrt(sum of x^2), which grows
    with |t| (t^2 = z^2 (U - 1) / (U - z^2)) and has mean square 1 under random signs whatever the number of units.
    The p-value is the share of sign patterns, common to all contrasts, in which the largest statistic reaches the
    contrast's own. None for all where the family has more than MAX_UNITS units.
    """
    units = sorted({unit for effects in family for unit in effects})
    if len(units) > MAX_UNITS:
        return [None] * len(family)
    table = np.array([[effects.get(unit, 0.0) for effects in family] for unit in units])   # [units, contrasts]
    if not table.size:
        return []
    size = np.sqrt(np.square(table).sum(axis=0))
    statistics = np.abs(sign_patterns(len(units)) @ (table / np.where(size > 0, size, 1)))  # [patterns, contrasts]
    largest = statistics.max(axis=1)
    return [float(np.mean(largest >= own * (1 - TIES))) for own in statistics[0]]           # the first flips nothing


def sign_patterns(n_units: int) -> np.ndarray:
    """Return one of each pair of opposite patterns of 1 and -1, the first all 1: float64 [2^(units - 1), units]."""
    bits = np.arange(2 ** (n_units - 1))[:, None] >> np.arange(n_units)
    return 1.0 - 2.0 * (bits & 1)


def _counts(draw: np.random.Generator, n_draws: int, n: int) -> np.ndarray:
    """Return how often each of n things comes in n draws with replacement: float64 [draws, n]."""
    chosen = draw.integers(0, n, (n_draws, n)) + n * np.arange(n_draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=n_draws * n).reshape(n_draws, n).astype(np.float64)
