"""Estimate a mean over images with an interval and a p-value, clustered by patient and by repetition.

A table d[u, i] holds, for repetition u and test image i, whether a classifier was right (a level) or the
difference of two classifiers that share their seed (a contrast). The metrics of this kind are weighted means

    theta_u = sum_i w_i d[u, i]          theta = mean over the U units of theta_u

with weights constant within a stratum: balanced accuracy has the classes as strata and weights
w_i = 1 / (K n_class(i)), accuracy has one stratum and w_i = 1 / n. Two things are random: which patients were
scanned, and what training drew (a replicate; with one generator only the seed). Their effects cross:

    V = V_unit + V_patient - V_both          (two-way clustering: Cameron, Gelbach and Miller 2011)

whose terms are written out in `interval`. Three choices differ from the plain sandwich, because it covers too
little with 3 to 6 units and 60 to 300 patients: V_both is taken from residuals centred by unit and patient,
as in two-way analysis of variance, which makes V unbiased in a balanced table; a patient's residual in a
stratum is divided by sqrt(1 - leverage) (CR2, Bell and McCaffrey 2002), which is the factor n / (n - 1) where
all patients weigh the same; and V is floored at the larger one-way term, which it exceeds in expectation.
The floor makes intervals too wide (97 to 98 % coverage) where neither units nor patients have an effect of
their own.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from synthplanes.errors import UserError
from synthplanes.protocol.words import CONFIDENCE, EQUIVALENCE_CONFIDENCE, POWER
from synthplanes.statistics.blocks import Blocks, sum_by


@dataclass(frozen=True)
class Interval:
    """An estimate with its uncertainty; effects and limits are fractions (0.01 is one point)."""

    estimate: float
    low: float                      # 95 % interval
    high: float
    equivalence_low: float          # 90 % interval
    equivalence_high: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float                  # two-sided, against an effect of 0
    n_units: int                    # replicates, or seeds where there is one generator
    n_patients: int
    n_effective_patients: float     # patients of equal weight that would carry the same information
    n_patients_scarcest: int        # patients in the stratum (class) that has the fewest
    smallest_visible_effect: float  # seen with 80 % power by a two-sided test at 5 %


def interval(values: np.ndarray, blocks: Blocks, shared: float = 0.0) -> Interval:
    """Return the interval of the weighted mean of `values`, float [units, images], in the frame `blocks`.

    `shared` is the share f of one pool of training patients that each unit drew, 0 where units have patients of their
    own. Units that share patients resemble each other: their correlation is at most f, so V_unit is multiplied by
    1 + U f / (1 - f) (Nadeau and Bengio 2003). At f = 1 all units have the same patients, no factor is known, and the
    result is one on this training set.

    With m[u, g] the mean of stratum g in unit u, w_g = 1 / (K n[g]) the weight of its images, h[p, g] = n[p, g] / n[g]
    the leverage of patient p, and

        r[u, p] = 1/U sum_g  w_g / sqrt(1 - h[p, g])  sum over i in (p, g) of (d[u, i] - m[u, g])

    the terms are

        V_unit    = (1 + U f / (1 - f))  sum_u (theta_u - theta)^2 / (U (U - 1))
        V_patient = sum_p (sum_u r[u, p])^2
        V_both    = U / (U - 1)  sum_u,p (r[u, p] - mean_u r[u, p])^2
        V         = max(V_unit + V_patient - V_both, V_unit, V_patient)

    and the t distribution is the one whose 97.5 % quantile is Cochran's (1964) for a sum of two variances,
    (V_unit t[U - 1] + V_patient t[n_effective - 1]) / (V_unit + V_patient), with n_effective the frame's
    `n_effective_patients`.
    Raises `UserError` for fewer than two units.
    """
    values = np.asarray(values, dtype=np.float64)
    n_units = len(values)
    if n_units < 2:
        raise UserError(f"An interval needs at least two repetitions and has {n_units}: train more seeds.")
    totals = blocks.totals(values)                                                     # [units, blocks]
    means = sum_by(blocks.stratum, totals, blocks.n_strata) / blocks.images_in_stratum  # [units, strata]
    unit_estimates = means.mean(axis=1)                                                # [units]
    estimate = float(unit_estimates.mean())

    residuals = (totals - blocks.size * means[:, blocks.stratum]) * blocks.image_weight
    # A patient who fills a stratum alone has no residual there; the verdict refuses such a set.
    residuals /= np.sqrt(np.where(blocks.leverage < 1, 1 - blocks.leverage, 1))
    r = sum_by(blocks.patient, residuals, blocks.n_patients) / n_units                 # [units, patients]

    v_unit = float(unit_estimates.var(ddof=1) / n_units)
    if shared < 1:
        v_unit *= 1 + n_units * shared / (1 - shared)
    v_patient = float(np.square(r.sum(axis=0)).sum())
    v_both = float(n_units / (n_units - 1) * np.square(r - r.mean(axis=0)).sum())
    variance = max(v_unit + v_patient - v_both, v_unit, v_patient)

    degrees = _degrees_of_freedom((v_unit, n_units - 1.0), (v_patient, blocks.n_effective_patients - 1))
    return _with_limits(estimate, float(np.sqrt(variance)), degrees, n_units=n_units, n_patients=blocks.n_patients,
                        n_effective_patients=blocks.n_effective_patients,
                        n_patients_scarcest=int(blocks.patients_in_stratum.min()))


def contrast(correct_a: np.ndarray, correct_b: np.ndarray, blocks: Blocks, shared: float = 0.0) -> Interval:
    """Return the interval of a's gain over b, both [architectures, units, images] in [0, 1] and paired in all three.

    Architectures are chosen, not sampled: they are averaged and add no variance of their own.
    """
    return interval(np.subtract(correct_a, correct_b, dtype=np.float64).mean(axis=0), blocks, shared)


def level(correct: np.ndarray, blocks: Blocks, shared: float = 0.0) -> Interval:
    """Return the interval of one arm's own score, from `correct` [architectures, units, images]."""
    return interval(np.asarray(correct).mean(axis=0, dtype=np.float64), blocks, shared)


def p_above(of: Interval, bound: float = 0.0) -> float:
    """Return the one-sided p-value of an effect of at most `bound` against one above it."""
    if of.standard_error > 0:
        return float(special.stdtr(of.degrees_of_freedom, (bound - of.estimate) / of.standard_error))
    return 0.0 if of.estimate > bound else 1.0


def limits(of: Interval, level: float) -> tuple[float, float]:
    """Return the lower and the upper confidence limit, each with the one-sided error `level`."""
    half = float(special.stdtrit(of.degrees_of_freedom, 1 - level)) * of.standard_error
    return of.estimate - half, of.estimate + half


def _degrees_of_freedom(*parts: tuple[float, float]) -> float:
    """Return those of the t distribution whose 97.5 % quantile is the parts' own, weighted by variance (Cochran 1964).

    Each part is (variance, degrees of freedom). The degrees of Satterthwaite (1946) are estimated from the same few
    units as the variance and large where that is too small by chance: with 3 units 92 % would be covered.
    """
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return parts[0][1]
    level = (1 + CONFIDENCE) / 2
    quantile = sum(variance * special.stdtrit(max(degrees, 1.0), level) for variance, degrees in parts) / total
    return float(special.stdtridf(level, quantile))


def _with_limits(estimate: float, standard_error: float, degrees: float, **counts) -> Interval:
    half = special.stdtrit(degrees, (1 + CONFIDENCE) / 2) * standard_error
    narrow = special.stdtrit(degrees, (1 + EQUIVALENCE_CONFIDENCE) / 2) * standard_error
    if standard_error > 0:
        p_value = 2 * special.stdtr(degrees, -abs(estimate) / standard_error)
    else:
        p_value = 1.0 if estimate == 0 else 0.0
    return Interval(
        estimate=estimate, low=float(estimate - half), high=float(estimate + half),
        equivalence_low=float(estimate - narrow), equivalence_high=float(estimate + narrow),
        standard_error=standard_error, degrees_of_freedom=float(degrees), p_value=float(p_value),
        smallest_visible_effect=float(half + special.stdtrit(degrees, POWER) * standard_error), **counts)
