"""Which arms are compared with which, and how their runs are paired.

All arms of a contrast hold the same information (the budget's labelled images), except that an oracle sees
fresh patients: it is a ceiling, not a rival.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes.errors import UserError
from synthplanes.statistics.predictions import Predictions


@dataclass(frozen=True)
class Contrast:
    """The gain of `arm` over `reference`; a gated one is refused where `real` is not at its plateau."""

    name: str
    arm: str
    reference: str
    role: str       # naive | confirmatory | secondary | rival | control
    gated: bool


CONTRASTS = tuple(Contrast(*row) for row in (
    # name                arm                    reference          role            gated
    ("naive",             "synthetic_then_real", "real_short",      "naive",        False),  # unfair to real
    ("longer",            "real",                "real_short",      "secondary",    False),  # what that hides
    ("fair",              "synthetic_then_real", "real",            "confirmatory", True),
    ("fair_two_stage",    "synthetic_then_real", "real_two_stage",  "confirmatory", True),
    ("two_stages",        "real_two_stage",      "real",            "secondary",    True),
    ("synthetic_only",    "synthetic",           "real",            "secondary",    True),
    ("joint",             "mixed",               "real",            "secondary",    True),
    ("joint_two_stage",   "mixed",               "real_two_stage",  "secondary",    True),
    ("by_augmentation",   "real_augmented",      "real",            "rival",        True),
    ("by_patients",       "real_by_patient",     "real",            "rival",        True),
    ("by_distillation",   "real_distilled",      "real",            "rival",        True),
    ("over_augmented",    "synthetic_then_real", "real_augmented",  "rival",        True),
    ("over_by_patient",   "synthetic_then_real", "real_by_patient", "rival",        True),
    ("over_distilled",    "synthetic_then_real", "real_distilled",  "rival",        True),
    ("oracle_only",       "oracle",              "real",            "control",      True),
    ("oracle",            "oracle_then_real",    "real",            "control",      True),
    ("oracle_two_stage",  "oracle_then_real",    "real_two_stage",  "control",      True),
    ("null",              "null_then_real",      "real",            "control",      True),
    ("null_two_stage",    "null_then_real",      "real_two_stage",  "control",      True),
    ("poison",            "poison_then_real",    "real",            "control",      True),
    ("poison_two_stage",  "poison_then_real",    "real_two_stage",  "control",      True),
))

CONFIRMATORY_ARM = "synthetic_then_real"
REFERENCES = ("real", "real_two_stage")  # both must be beaten: more real training, and two stages of it
# Controls with a known answer, judged as the confirmatory pair is: must they help?
CONTROLS = {"oracle_then_real": True, "null_then_real": False, "poison_then_real": False}
# Whose gain over `real` is a share of which ceiling's.
CEILINGS = {"synthetic": "oracle", "synthetic_then_real": "oracle_then_real"}


Pair = tuple[int, int]
"""(replicate, seed): what the runs of one contrast share."""


@dataclass(frozen=True)
class Pairing:
    """The runs of one contrast, or why they cannot be paired."""

    arm: np.ndarray | None        # float64 [architectures, units, images], see `units`
    reference: np.ndarray | None  # of the same shape
    n_generators: int
    n_seeds: int                  # per generator
    why_unpaired: str = ""
    pairs: tuple[Pair, ...] = ()  # sorted; empty where unpaired


def runs_of(predictions: Predictions, arm: str, arch: str) -> dict[Pair, int]:
    """(replicate, seed) -> position in `predictions.runs`."""
    return {(replicate, seed): row for row, (*whose, _, replicate, seed) in enumerate(predictions.cells)
            if whose == [arm, arch]}


def archs_with(predictions: Predictions, *arms: str) -> list[str]:
    """The architecture roles that ran all of `arms`, sorted."""
    roles = [{arch for its_arm, arch, *_ in predictions.cells if its_arm == arm} for arm in arms]
    return sorted(set.intersection(*roles))


def run_rows(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    """int [architectures, pairs]: the positions of an arm's runs in `predictions.runs`."""
    return np.array([[row_of[pair] for pair in pairs]
                     for row_of in (runs_of(predictions, arm, arch) for arch in archs)])


def unit_of(pairs: Sequence[Pair]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The units, sorted, and the number of each pair's unit, int [pairs].

    The unit is the replicate, its seeds averaged; with a single replicate (one generator) it is the seed.
    """
    several = len({replicate for replicate, _ in pairs}) > 1
    names = [pair[:1] if several else pair for pair in pairs]
    found = sorted(set(names))
    return found, np.array([found.index(name) for name in names])


def by_unit(values: np.ndarray, pairs: Sequence[Pair], axis: int) -> np.ndarray:
    """float64: `values` with its axis of pairs averaged within each unit."""
    names, unit = unit_of(pairs)
    return np.stack([np.compress(unit == number, values, axis).mean(axis, dtype=np.float64)
                     for number in range(len(names))], axis)


def units(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair],
          images: np.ndarray) -> np.ndarray:
    """float64 [architectures, units, images]: the share of each unit's seeds that were right."""
    return by_unit(runs(predictions, arm, archs, pairs, images), pairs, 1)


def runs(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair],
         images: np.ndarray) -> np.ndarray:
    """bool [architectures, pairs, images]: whether each run was right."""
    return predictions.correct[run_rows(predictions, arm, archs, pairs)[:, :, None], images]


def unit_gains(scores: np.ndarray, predictions: Predictions, arm: str, reference: str, archs: Sequence[str],
               pairs: Sequence[Pair]) -> np.ndarray:
    """float64 [..., units]: what `arm` gains over `reference`, mean over architectures, from `scores` [..., runs]."""
    of_arm, of_reference = (scores[..., run_rows(predictions, name, archs, pairs)] for name in (arm, reference))
    return by_unit((of_arm - of_reference).mean(axis=-2), pairs, -1)


def pairs_of(predictions: Predictions, arm: str, archs: Sequence[str]) -> list[Pair]:
    """The runs of an arm that all of `archs` have in common, sorted; others are refused with `UserError`, as are
    generators with different numbers of seeds: a mean over whatever is there would hide what is missing."""
    owned = [set(runs_of(predictions, arm, arch)) for arch in archs]
    if why := _why_uneven(arm, owned):
        raise UserError(f"At budget {predictions.budget} {why}: run the stages that train and predict them.")
    return sorted(owned[0])


def pair(predictions: Predictions, arm: str, reference: str, archs: Sequence[str], images: np.ndarray) -> Pairing:
    """Pair every run of `arm` with the run of `reference` that shares its replicate and seed.

    A control may have fewer seeds than its reference; a run without partner, or architectures or generators with
    different seeds, leave the contrast unpaired.
    """
    owned = [set(runs_of(predictions, arm, arch)) for arch in archs]
    offered = set.intersection(*(set(runs_of(predictions, reference, arch)) for arch in archs))
    pairs = sorted(owned[0])
    n_generators = len({replicate for replicate, _ in pairs})
    n_seeds = len(pairs) // n_generators
    if not (why := _why_uneven(arm, owned)):
        if owned[0] - offered:
            why = f"`{reference}` lacks {len(owned[0] - offered)} of the {len(pairs)} seeds of `{arm}`"
        elif len(pairs) < 2:
            why = "there is a single seed, and an interval needs two"
    if why:
        return Pairing(None, None, n_generators, n_seeds, why)
    return Pairing(units(predictions, arm, archs, pairs, images), units(predictions, reference, archs, pairs, images),
                   n_generators, n_seeds, pairs=tuple(pairs))


def _why_uneven(arm: str, owned: Sequence[set[Pair]]) -> str:
    """Why the runs of an arm, one set of pairs per architecture, are no full grid; empty where they are one."""
    if any(pairs != owned[0] for pairs in owned):
        return f"the architectures ran `{arm}` with different seeds"
    if len(set(Counter(replicate for replicate, _ in owned[0]).values())) > 1:
        return f"the generators ran `{arm}` with different numbers of seeds"
    return ""
