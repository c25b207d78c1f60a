"""Draw worlds whose truth is known: test patients, and which of their images the classifiers of five arms get right.

A latent probit model with random effects. The classifier of arm X, unit u and seed s is right about image i of
patient p and class g where

    m[X, g] + P[p] + I[i] + Q[X, p] + J[X, i] + A[X, u] + B[X, u, s] + R[X, p, u] + e[X, u, s, i] > 0

All effects are independent and normal with mean 0: P and I are difficulties that all arms share, Q and J an arm's
own luck with a patient or an image, A its generator (the same for both arms with synthetic images), B its seed, R a
patient's response to one unit, e the rest with variance 1. The number and the classes of a patient's images are
independent of the effects. Where generators draw their training patients from one pool, A is the mean effect of the
patients drawn, so that two generators that each drew the share f of the pool correlate by f.

The estimand is the gain in balanced accuracy for a new unit and a new patient: the mean over classes of the
difference of the probabilities to be right, each averaged over all effects. An integral of normals is a normal, so
with S[X]^2 the sum of all variances that probability is Phi(m[X, g] / S[X]). It is solved for m, so the effect of a
world is exactly what it is asked to be; no simulation stands behind the truth.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri

from synthplanes import seeds
from synthplanes.phantom import population

# How often `real` is right, by class in the order of `population.CLASSES`. Gains and losses go to classes in
# proportion to their errors.
ACCURACY = np.array([.60, .95, .85, .85, .95, .75])
PATIENT, IMAGE, OWN_IMAGE = 0.6, 2.0, 0.6   # standard deviations of P, I and J
SYNTHETIC = ("synthetic_then_real", "joint")
ARMS = (*SYNTHETIC, "real", "real_two_stage", "duplicate_joint")
POOL = 40                                   # training patients of a pool that generators share
SCARCE_IMAGES = (40, 100)                   # images of each patient of a scarce class, both included
BANK = 10_000                               # patients from whose table of images a world draws its own


@dataclass(frozen=True)
class Spread:
    """Standard deviations on the latent scale, where 0.1 is about one point of balanced accuracy."""

    seed: float               # B
    patient: float            # Q
    both: float = 0.2         # R
    generator: float = 0.0    # A, of the arms with synthetic images only
    n_seeds: int = 1          # nested in a unit, and averaged

    def total(self, arm: str) -> float:
        """Return S of one arm."""
        parts = [1, PATIENT, IMAGE, OWN_IMAGE, self.seed, self.patient, self.both, self.generator * (arm in SYNTHETIC)]
        return float(np.linalg.norm(parts))


SPREADS = {
    "seed":      Spread(seed=.25, patient=.15),
    "patient":   Spread(seed=.03, patient=.90),
    "generator": Spread(seed=.12, patient=.15, generator=.25, n_seeds=3),
    "pool":      Spread(seed=.12, patient=.15, generator=.25, n_seeds=2),
    "alike":     Spread(seed=.10, patient=.30),
    "image":     Spread(seed=.00, patient=.00, both=.00),
}


@dataclass(frozen=True)
class Design:
    """Who is tested and how often: one world is drawn from it, by `draw`."""

    dominant: str    # a key of SPREADS: which effect makes most of the variance; `image`: units and patients none
    classes: str     # "fetal_planes": a patient's classes as in FETAL_PLANES_DB; "balanced": equally frequent
    n_patients: int
    n_units: int     # seeds, or replicates of three seeds each where the generator dominates
    pool_share: float = 0.0  # of one pool of training patients that each generator draws; 0: patients of its own
    scarce: int = 0          # patients who hold all images of the first class; 0: it is like the others

    @property
    def name(self) -> str:
        """Describe the design; its worlds are seeded from this text."""
        return f"{self.dominant} {self.classes} {self.n_patients} {self.n_units} {self.pool_share:g} {self.scarce}"


@dataclass(frozen=True)
class World:
    """One draw. `latent[arm]` is float32 [units, seeds, images], all terms but m."""

    labels: np.ndarray     # int [images]
    patients: np.ndarray   # int [images]
    spread: Spread
    latent: dict[str, np.ndarray]

    def correct(self, arm: str, effect: float = 0.0) -> np.ndarray:
        """Return the share of a unit's seeds that are right, [units, images], for a gain of `effect` over `real`."""
        accuracy = ACCURACY + effect * (1 - ACCURACY) / np.mean(1 - ACCURACY)
        threshold = -self.spread.total(arm) * ndtri(accuracy)
        right = self.latent[arm] > threshold[self.labels].astype(np.float32)
        return right[:, 0] if self.spread.n_seeds == 1 else right.mean(axis=1, dtype=np.float32)


def draw(design: Design, root: int, number: int) -> World:
    """Draw world `number` of a design; it is the same for all effects, so that power grows along one set of draws."""
    rng, spread = seeds.generator(root, "calibration", design.name, number), SPREADS[design.dominant]
    counts = _bank(root)[rng.integers(0, BANK, design.n_patients)]                   # [patients, classes]
    if design.classes == "balanced":
        counts = rng.multinomial(counts.sum(axis=1), np.full(len(ACCURACY), 1 / len(ACCURACY)))
    if design.scarce:
        counts[:, 0] = 0
        counts[:design.scarce, 0] = rng.integers(SCARCE_IMAGES[0], SCARCE_IMAGES[1] + 1, design.scarce)
    patients, labels = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    shape = (design.n_units, spread.n_seeds, len(labels))

    def normal(deviation: float, *size: int) -> np.ndarray:
        drawn = rng.standard_normal(size, dtype=np.float32)
        drawn *= np.float32(deviation)
        return drawn

    shared = normal(PATIENT, design.n_patients)[patients] + normal(IMAGE, len(labels))
    generators = np.float32(spread.generator) * _generator_effects(design, rng)
    latent = {}
    for arm in ARMS:
        own = shared + normal(spread.patient, design.n_patients)[patients] + normal(OWN_IMAGE, len(labels))
        unit = normal(spread.seed, *shape[:2])
        if arm in SYNTHETIC:
            unit += generators[:, None]
        both = normal(spread.both, design.n_units, design.n_patients)
        latent[arm] = normal(1, *shape)
        for row, its_unit, its_both in zip(latent[arm], unit, both, strict=True):  # one at a time stays in the cache
            row += its_both[patients] + own + its_unit[:, None]
    return World(labels, patients, spread, latent)


def _generator_effects(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw one effect of variance 1 for each unit: float32 [units]."""
    if not design.pool_share:
        return rng.standard_normal(design.n_units, dtype=np.float32)
    pool, size = rng.standard_normal(POOL, dtype=np.float32), round(design.pool_share * POOL)
    drawn = [rng.choice(POOL, size, replace=False) for _ in range(design.n_units)]
    return pool[drawn].sum(axis=1) / np.float32(np.sqrt(size))


@cache
def _bank(root: int) -> np.ndarray:
    """Draw the images of patients like those that train FETAL_PLANES_DB: int [patients, classes].

    With root 0 they have 1 to 82 images, median 6, mean 8.0 (there: 1 to 88, median 5, mean 8.0).
    """
    place = {name: number for number, name in enumerate(population.CLASSES)}
    rows = [[place[view.label] for view in patient.views]
            for patient in population.patients(seeds.derive(root, "calibration bank"), "train", BANK)]
    return np.stack([np.bincount(row, minlength=len(place)) for row in rows])
