"""Estimate where the uncertainty of an estimate comes from: variance components of a table d[run, image].

The runs are classifier seeds s within generators r, the images i lie within patients p, and the two sides cross
(the estimate and its weights w_i are those of `clustered`):

    d[r, s, i] = class mean + G_r + S_rs + P_p + (GP)_rp + (SP)_rsp + I_i + (GI)_ri + (SI)_rsi

All effects are uncorrelated with mean 0, and a patient's is the same in all classes. So a variance belongs to a
level of the runs (none, generator, seed) and a level of the images (none, patient, image), and the estimate has

    V = sum over components of  variance x f(run level) x g(image level)
    f = 1, 1 / generators, 1 / (generators x seeds)      g = 1, sum_p W_p^2, sum_i w_i^2,  W_p = sum of p's w_i.

Estimators are those of moments, in closed form (Henderson's methods 1 and 3; Searle, Casella and McCulloch 1992,
chapter 5). The runs are split into three orthogonal parts x: the mean of all, the generators around it, and the
seeds around their generator. In each part three sums of squares are equated with their expectations under variances
(a, b, c) of (none, patient, image), which are exact for any numbers of images per patient and class:

    Q_image   = sum of squares left by class and patient   c (images - patients - rank)
    Q_patient = sum_p (sum_i in p  w_i (x_i - m_g(i)))^2   b |C|^2 + c sum_g w_g^2 (n_g - sum_p n_pg^2 / n_g)
    Q_none    = (sum_i w_i x_i)^2                          a + b sum_p W_p^2 + c sum_i w_i^2

per degree of freedom, with m_g the mean of class g, n_pg the images of patient p in it, C = diag(W) - A,
A_pq = sum_g w_g n_pg n_qg / n_g, and rank that of the classes' indicators within patients (0 where every patient has
one class). The parts then differ by the run levels: seed = third; generator = (second - third) / seeds; none =
(first - second) / runs. In a balanced table all this is analysis of variance. Q_patient is the patients' term of the
interval, so the components add up to what the interval measures, but for its small-sample corrections and its floor.

An estimate of moments may be negative where a component is small. It then counts as 0 and is marked (`clipped`). Shares
are of the sum of the estimates that count, so the expected share of a small component exceeds its true share.
"""

import numpy as np
import pandas as pd

from synthplanes.statistics.blocks import Blocks, sum_by

NAMES = ("generator", "seed", "patient", "patient_x_generator", "patient_x_seed",
         "image", "image_x_generator", "image_x_seed")
ROUNDING = 1e-12  # variances nearer to 0 than this are 0


def components(values: np.ndarray, generators: np.ndarray, blocks: Blocks) -> pd.DataFrame:
    """Return the components of the weighted mean of `values` [runs, images] in `blocks`, one row for each of NAMES.

    `generators`, int [runs], names each run's generator; all must have as many runs. The columns are `component`,
    `variance` (of one effect, a squared fraction, as estimated: it may be negative), `clipped` (whether it is),
    `standard_deviation` (of one effect), `factor` (of the variance in that of the estimate, f x g), `standard_error`
    (of the estimate if nothing else varied), `share` (of the estimate's variance, in 0..1, summing to 1; NaN where
    nothing varies) and `n` (effects in the table).

    NaN marks what the table does not identify: everything of generators where there is one (its part is in the estimate
    and not in V); seeds where each generator has one (the generator's then hold both); images where no patient has two
    (the patients' then hold both); and everything where no class has two patients.
    """
    table = np.stack([values[generators == name] for name in np.unique(generators)]).astype(np.float64)
    n_generators, n_seeds, n_images = table.shape
    n_runs = n_generators * n_seeds
    moments = _Moments(blocks)
    means = table.mean(axis=1)
    grand = means.mean(axis=0, keepdims=True)
    variances = {run: np.full(3, np.nan) for run in ("generator", "seed")}         # without a degree of freedom
    within = below = np.zeros(3)
    if n_seeds > 1:
        variances["seed"] = within = below = moments.solve(
            (table - means[:, None]).reshape(n_runs, n_images), n_runs - n_generators)
    if n_generators > 1:
        below = moments.solve(np.sqrt(n_seeds) * (means - grand), n_generators - 1)
        variances["generator"] = (below - within) / n_seeds
    variances[""] = (moments.solve(np.sqrt(n_runs) * grand, 1) - below) / n_runs
    found = pd.DataFrame(
        [("_x_".join(filter(None, (image, run))), variance, factor / n_levels, n * n_levels)
         for run, n_levels in (("", 1), ("generator", n_generators), ("seed", n_runs))
         for image, variance, factor, n in zip(("", "patient", "image"), variances[run], moments.factors,
                                               moments.counts, strict=True)],
        columns=["component", "variance", "factor", "n"]).set_index("component").loc[list(NAMES)].reset_index()
    found["variance"] = found["variance"].mask(found["variance"].abs() <= ROUNDING, 0.0)
    found["clipped"] = found["variance"] < 0
    found["standard_deviation"] = np.sqrt(found["variance"].clip(lower=0.0))
    found["standard_error"] = found["standard_deviation"] * np.sqrt(found["factor"])
    parts = np.square(found["standard_error"])
    total = sum(parts.dropna())
    return found.assign(share=parts / total if total > 0 else np.nan)


class _Moments:
    """The three sums of squares of one set of images, and the solution of their equations."""

    def __init__(self, blocks: Blocks):
        self.blocks = blocks
        n_g = blocks.images_in_stratum
        weight = 1 / (blocks.n_strata * n_g)                                       # [strata]
        counts = np.zeros((blocks.n_patients, blocks.n_strata))
        counts[blocks.patient, blocks.stratum] = blocks.size                       # n_pg
        of_patient = counts @ weight                                               # W_p
        outer = (counts.T @ counts) * weight / n_g                                 # its square has A's trace of A^2
        diagonal = np.square(counts) @ (weight / n_g)                              # A_pp
        self.patient_in_patient = float(np.square(of_patient).sum() - 2 * (of_patient * diagonal).sum()
                                        + np.trace(outer @ outer))                 # |C|^2
        self.image_in_patient = float((weight ** 2 * (n_g - np.square(counts).sum(axis=0) / n_g)).sum())
        self.factors = (1.0, float(np.square(of_patient).sum()), float((weight ** 2 * n_g).sum()))
        self.counts = (1, blocks.n_patients, int(n_g.sum()))
        self.images_of_patient = counts.sum(axis=1)
        within = np.diag(n_g) - (counts / self.images_of_patient[:, None]).T @ counts  # of the classes' indicators
        values, vectors = np.linalg.eigh(within)
        kept = values > 1e-9 * n_g.max()
        self.within_inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        self.image_degrees = int(n_g.sum()) - blocks.n_patients - int(kept.sum())
        self.has_patients = bool((blocks.patients_in_stratum > 1).any())

    def solve(self, rows: np.ndarray, degrees: int) -> np.ndarray:
        """Return the variances of (none, patient, image) in `rows` [rows, images] with so many degrees of freedom.

        float64 [3], NaN where unknown.
        """
        if not self.has_patients:
            return np.full(3, np.nan)
        blocks = self.blocks
        totals = blocks.totals(rows)
        sums = sum_by(blocks.stratum, totals, blocks.n_strata)                     # [rows, strata]
        means = sums / blocks.images_in_stratum
        residuals = (totals - blocks.size * means[:, blocks.stratum]) * blocks.image_weight
        q_none = np.square(means.mean(axis=1)).sum() / degrees
        q_patient = np.square(sum_by(blocks.patient, residuals, blocks.n_patients)).sum() / degrees
        image = 0.0
        if self.image_degrees:
            image = self._left_by_class_and_patient(rows, totals, sums) / (degrees * self.image_degrees)
        patient = (q_patient - image * self.image_in_patient) / self.patient_in_patient
        none = q_none - patient * self.factors[1] - image * self.factors[2]
        return np.array([none, patient, image if self.image_degrees else np.nan])

    def _left_by_class_and_patient(self, rows: np.ndarray, totals: np.ndarray, sums: np.ndarray) -> float:
        """Return the residual sum of squares of `rows` after fitting both, by regression within patients."""
        blocks = self.blocks
        patient_means = sum_by(blocks.patient, totals, blocks.n_patients) / self.images_of_patient
        around = np.square(rows - patient_means[:, blocks.patient][:, blocks.of_image]).sum()
        slopes = sums - sum_by(blocks.stratum, blocks.size * patient_means[:, blocks.patient], blocks.n_strata)
        return float(around - ((slopes @ self.within_inverse) * slopes).sum())
