"""Which arms are compared with which, and how their runs are paired.

All arms of a contrast hold the same information (the budget's labelled images), except that an oracle sees
fresh patients: it is a ceiling, not a rival.
"""

from dataclasses import dataclass

import numpy as np

from synthplanes.statistics.predictions import Predictions


@dataclass(frozen=True)
class Contrast:
    """The gain of `arm` over `reference`; a gated one is refused where `real` is not at its plateau."""

    name: str
    arm: str
    reference: str
    role: str       # naive | confirmatory | secondary | control
    gated: bool


CONTRASTS = tuple(Contrast(*row) for row in (
    # name               arm                    reference         role            gated
    ("naive",            "synthetic_then_real", "real_short",     "naive",        False),  # unfair to real
    ("longer",           "real",                "real_short",     "secondary",    False),  # what that hides
    ("fair",             "synthetic_then_real", "real",           "confirmatory", True),
    ("fair_two_stage",   "synthetic_then_real", "real_two_stage", "confirmatory", True),
    ("two_stages",       "real_two_stage",      "real",           "secondary",    True),
    ("synthetic_only",   "synthetic",           "real",           "secondary",    True),
    ("joint",            "mixed",               "real",           "secondary",    True),
    ("joint_two_stage",  "mixed",               "real_two_stage", "secondary",    True),
    ("oracle_only",      "oracle",              "real",           "control",      True),
    ("oracle",           "oracle_then_real",    "real",           "control",      True),
    ("oracle_two_stage", "oracle_then_real",    "real_two_stage", "control",      True),
    ("null",             "null_then_real",      "real",           "control",      True),
    ("null_two_stage",   "null_then_real",      "real_two_stage", "control",      True),
    ("poison",           "poison_then_real",    "real",           "control",      True),
    ("poison_two_stage", "poison_then_real",    "real_two_stage", "control",      True),
))

CONFIRMATORY_ARM = "synthetic_then_real"
REFERENCES = ("real", "real_two_stage")  # both must be beaten: more real training, and two stages of it
# Controls with a known answer, judged as the confirmatory pair is: must they help?
CONTROLS = {"oracle_then_real": True, "null_then_real": False, "poison_then_real": False}
# Whose gain over `real` is a share of which ceiling's.
CEILINGS = {"synthetic": "oracle", "synthetic_then_real": "oracle_then_real"}


@dataclass(frozen=True)
class Pairing:
    """The runs of one contrast, or why they cannot be paired."""

    arm: np.ndarray | None        # float64 [architectures, units, images], see `units`
    reference: np.ndarray | None  # of the same shape
    n_generators: int
    n_seeds: int                  # per generator
    why_unpaired: str = ""


def runs_of(predictions: Predictions, arm: str, arch: str) -> dict[tuple[int, int], int]:
    """(replicate, seed) -> position in `predictions.runs`."""
    return {(replicate, seed): row for row, (*whose, _, replicate, seed) in enumerate(predictions.cells)
            if whose == [arm, arch]}


def archs_with(predictions: Predictions, *arms: str) -> list[str]:
    """The architecture roles that ran all of `arms`, sorted."""
    roles = [{arch for its_arm, arch, *_ in predictions.cells if its_arm == arm} for arm in arms]
    return sorted(set.intersection(*roles))


def units(predictions: Predictions, arm: str, archs: list[str], pairs: list[tuple[int, int]],
          images: np.ndarray) -> np.ndarray:
    """float64 [architectures, units, images]: the share of each unit's seeds that were right.

    The unit is the replicate, its seeds averaged; with a single replicate (one generator) it is the seed.
    """
    replicates = sorted({replicate for replicate, _ in pairs})
    if len(replicates) > 1:
        groups = [[pair for pair in pairs if pair[0] == replicate] for replicate in replicates]
    else:
        groups = [[pair] for pair in pairs]
    correct = predictions.correct[:, images]
    result = []
    for arch in archs:
        row_of = runs_of(predictions, arm, arch)
        result.append([correct[[row_of[pair] for pair in group]].mean(axis=0) for group in groups])
    return np.asarray(result)


def pair(predictions: Predictions, arm: str, reference: str, archs: list[str], images: np.ndarray) -> Pairing:
    """Pair every run of `arm` with the run of `reference` that shares its replicate and seed.

    A control may have fewer seeds than its reference; a run without partner, or architectures with different
    seeds, leave the contrast unpaired.
    """
    owned = [set(runs_of(predictions, arm, arch)) for arch in archs]
    offered = set.intersection(*(set(runs_of(predictions, reference, arch)) for arch in archs))
    pairs = sorted(owned[0])
    n_generators = len({replicate for replicate, _ in pairs})
    n_seeds = len(pairs) // n_generators
    if any(seeds != owned[0] for seeds in owned):
        why = f"the architectures ran `{arm}` with different seeds"
    elif owned[0] - offered:
        why = f"`{reference}` lacks {len(owned[0] - offered)} of the {len(pairs)} seeds of `{arm}`"
    elif len(pairs) < 2:
        why = "there is a single seed, and an interval needs two"
    else:
        return Pairing(units(predictions, arm, archs, pairs, images),
                       units(predictions, reference, archs, pairs, images), n_generators, n_seeds)
    return Pairing(None, None, n_generators, n_seeds, why)
