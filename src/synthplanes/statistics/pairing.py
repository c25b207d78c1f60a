"""Pair the runs of two arms by replicate and seed, and average them within the unit of repetition.

The unit is the replicate, its seeds averaged; with a single replicate (one generator) it is the seed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes.errors import UserError
from synthplanes.statistics.predictions import Pair, Predictions

_EMPTY = np.empty((0, 0, 0))


@dataclass(frozen=True)
class Pairing:
    """The runs of one contrast, or the reason why they cannot be paired."""

    arm: np.ndarray          # float64 [architectures, units, images], see `units`; empty where unpaired
    reference: np.ndarray    # of the same shape
    n_generators: int
    n_seeds: int             # per generator
    why_unpaired: str = ""
    pairs: tuple[Pair, ...] = ()  # sorted; empty where unpaired


def archs_with(predictions: Predictions, *arms: str) -> list[str]:
    """Return the architecture roles that ran all of `arms`, sorted."""
    archs = {arch for _, arch in predictions.runs_of}
    return sorted(arch for arch in archs if all((arm, arch) in predictions.runs_of for arm in arms))


def unit_names(pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Return the units of repetition, sorted: (replicate,) where there are several, else (replicate, seed)."""
    several = len({replicate for replicate, _ in pairs}) > 1
    return sorted({pair[:1] if several else pair for pair in pairs})


def runs(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    """Return the positions of an arm's runs in `predictions.runs`: int [architectures, pairs]."""
    return np.array([[predictions.runs_of[arm, arch][pair] for pair in pairs] for arch in archs])


def units(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair],
          images: np.ndarray) -> np.ndarray:
    """Return the share of each unit's seeds that are right: float64 [architectures, units, images].

    `pairs` are sorted, with as many seeds of every replicate.
    """
    correct = predictions.correct[runs(predictions, arm, archs, pairs)[:, :, None], images]
    return correct.reshape(len(archs), len(unit_names(pairs)), -1, len(images)).mean(axis=2)


def unit_gains(scores: np.ndarray, predictions: Predictions, arm: str, reference: str, archs: Sequence[str],
               pairs: Sequence[Pair]) -> np.ndarray:
    """Return the gain of `arm` over `reference`, mean over architectures, from `scores` [..., runs]: [..., units]."""
    of_arm, of_reference = (scores[..., runs(predictions, name, archs, pairs)] for name in (arm, reference))
    gains = (of_arm - of_reference).mean(axis=-2)                                  # [..., pairs]
    return gains.reshape(*gains.shape[:-1], len(unit_names(pairs)), -1).mean(axis=-1)


def pairs_of(predictions: Predictions, arm: str, archs: Sequence[str]) -> list[Pair]:
    """Return the runs of an arm that all of `archs` have in common, sorted.

    Raises `UserError` where architectures ran other seeds, or generators different numbers of them: a mean over the
    runs that exist would hide those that are missing.
    """
    owned = [set(predictions.runs_of[arm, arch]) for arch in archs]
    if why := _why_uneven(arm, owned):
        raise UserError(f"At budget {predictions.budget} {why}: run the stages that train and predict them.")
    return sorted(owned[0])


def pair(predictions: Predictions, arm: str, reference: str, archs: Sequence[str], images: np.ndarray) -> Pairing:
    """Pair every run of `arm` with the run of `reference` that shares its replicate and seed.

    A control may have fewer seeds than its reference; a run without partner, or architectures or generators with
    different seeds, leave the contrast unpaired.
    """
    owned = [set(predictions.runs_of.get((arm, arch), {})) for arch in archs]
    offered = [predictions.runs_of.get((reference, arch), {}) for arch in archs]
    lacking = [each for each in owned[0] if any(each not in runs for runs in offered)]
    pairs = sorted(owned[0])
    n_generators = len({replicate for replicate, _ in pairs})
    n_seeds = len(pairs) // n_generators
    if not (why := _why_uneven(arm, owned)):
        if lacking:
            why = f"`{reference}` lacks {len(lacking)} of the {len(pairs)} seeds of `{arm}`"
        elif len(pairs) < 2:
            why = "there is a single seed, and an interval needs two"
    if why:
        return Pairing(_EMPTY, _EMPTY, n_generators, n_seeds, why)
    return Pairing(units(predictions, arm, archs, pairs, images), units(predictions, reference, archs, pairs, images),
                   n_generators, n_seeds, pairs=tuple(pairs))


def _why_uneven(arm: str, owned: Sequence[set[Pair]]) -> str:
    """Return why the runs of an arm, one set of pairs per architecture, are no full grid; '' where they are."""
    if any(pairs != owned[0] for pairs in owned):
        return f"the architectures ran `{arm}` with different seeds"
    if len(set(Counter(replicate for replicate, _ in owned[0]).values())) > 1:
        return f"the generators ran `{arm}` with different numbers of seeds"
    return ""
