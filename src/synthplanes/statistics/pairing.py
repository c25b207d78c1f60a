"""Pair the runs of two arms by replicate and seed, and average them within the unit of repetition."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes.errors import UserError
from synthplanes.statistics.predictions import Predictions

Pair = tuple[int, int]
"""(replicate, seed): what the runs of one contrast share."""

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


def runs_of(predictions: Predictions, arm: str, arch: str) -> dict[Pair, int]:
    """Map (replicate, seed) of an arm's runs on one architecture to their positions in `predictions.runs`."""
    return {(replicate, seed): row for row, (*whose, _, replicate, seed) in enumerate(predictions.identities)
            if whose == [arm, arch]}


def archs_with(predictions: Predictions, *arms: str) -> list[str]:
    """Return the architecture roles that ran all of `arms`, sorted."""
    roles = [{arch for its_arm, arch, *_ in predictions.identities if its_arm == arm} for arm in arms]
    return sorted(set.intersection(*roles))


def run_rows(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    """Return the positions of an arm's runs in `predictions.runs`: int [architectures, pairs]."""
    return np.array([[row_of[pair] for pair in pairs]
                     for row_of in (runs_of(predictions, arm, arch) for arch in archs)])


def unit_of(pairs: Sequence[Pair]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Return the units of repetition, sorted, and the number of each pair's unit, int [pairs].

    The unit is the replicate, its seeds averaged; with a single replicate (one generator) it is the seed.
    """
    several = len({replicate for replicate, _ in pairs}) > 1
    names: list[tuple[int, ...]] = [pair[:1] if several else pair for pair in pairs]
    distinct = sorted(set(names))
    return distinct, np.array([distinct.index(name) for name in names])


def by_unit(values: np.ndarray, pairs: Sequence[Pair], axis: int) -> np.ndarray:
    """Average the axis of pairs of `values` within each unit: float64."""
    names, unit = unit_of(pairs)
    return np.stack([np.compress(unit == number, values, axis).mean(axis, dtype=np.float64)
                     for number in range(len(names))], axis)


def units(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair],
          images: np.ndarray) -> np.ndarray:
    """Return the share of each unit's seeds that are right: float64 [architectures, units, images]."""
    return by_unit(runs(predictions, arm, archs, pairs, images), pairs, 1)


def runs(predictions: Predictions, arm: str, archs: Sequence[str], pairs: Sequence[Pair],
         images: np.ndarray) -> np.ndarray:
    """Return whether each run is right: bool [architectures, pairs, images]."""
    return predictions.correct[run_rows(predictions, arm, archs, pairs)[:, :, None], images]


def unit_gains(scores: np.ndarray, predictions: Predictions, arm: str, reference: str, archs: Sequence[str],
               pairs: Sequence[Pair]) -> np.ndarray:
    """Return the gain of `arm` over `reference`, mean over architectures, from `scores` [..., runs]: [..., units]."""
    of_arm, of_reference = (scores[..., run_rows(predictions, name, archs, pairs)] for name in (arm, reference))
    return by_unit((of_arm - of_reference).mean(axis=-2), pairs, -1)


def pairs_of(predictions: Predictions, arm: str, archs: Sequence[str]) -> list[Pair]:
    """Return the runs of an arm that all of `archs` have in common, sorted.

    Raises `UserError` where architectures ran other seeds, or generators different numbers of them: a mean over the
    runs that exist would hide those that are missing.
    """
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
