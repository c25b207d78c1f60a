"""Draw nested budgets of patients, each budget's own validation cut, and the folds of a cross-validation.

Everything is drawn by patient, never by image: nearly every test image of a random image split shares its patient with
training. In cross-validation every patient is tested by one replicate and trains the others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthplanes import records, seeds
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile

_DRAWS = 32  # random cuts and divisions into folds, of which the best is taken


def count(table: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each patient (the index, sorted) and class (the columns, sorted)."""
    return table.groupby(["patient_id", "label"]).size().unstack(fill_value=0)


def connected(count: int, pairs: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many groups pairs (integer [M, 2]) make of 0..count - 1, and the group of each, integer [count]."""
    graph = coo_array((np.ones(len(pairs)), pairs.T), (count, count))
    return connected_components(graph, directed=False)


def folds(index: pd.DataFrame, profile: Profile, alike: np.ndarray) -> list[np.ndarray]:
    """Return the test patients (str [n]) of each of the profile's folds: every patient is in one.

    With `cross_validation: patients` they are divided at random; of several draws the one with the most even shares of
    every class is taken. Patients with nearly identical images (`alike`, pairs of patient numbers, str [n, 2]) stay
    together. With `scanners` each scanner is a fold, in the order of names. An impossible number raises `UserError`.
    """
    if profile.prepare.cross_validation == "scanners":
        patients_of = {name: np.unique(rows["patient_id"]) for name, rows in index.groupby("scanner")}
        if len(patients_of) != profile.folds or "" in patients_of:
            raise UserError(f"cross-validation by scanners needs a replication.generators for each of the "
                            f"{len(patients_of)} scanners ({', '.join(patients_of)}), all known, and has "
                            f"{profile.folds}: change params.yaml.")
        return list(patients_of.values())
    counts = count(index)
    n_groups, group = connected(len(counts), counts.index.get_indexer(alike.ravel()).reshape(-1, 2))
    if n_groups < profile.folds:
        raise UserError(f"{n_groups} patients, or groups of patients with near-duplicate images, cannot be divided "
                        f"into {profile.folds} folds: lower replication.generators in params.yaml.")
    images, rng = counts.to_numpy(), seeds.generator(profile.replication.root_seed, "folds")
    divisions = []
    for _ in range(_DRAWS):
        parts = np.array_split(rng.permutation(n_groups), profile.folds)
        divisions.append([np.flatnonzero(np.isin(group, part)) for part in parts])
    best = min(divisions, key=lambda division: _unevenness(
        np.array([images[fold].sum(axis=0) for fold in division]) / images.sum(axis=0), 1 / profile.folds))
    return [counts.index.to_numpy()[fold] for fold in best]


def _unevenness(shares: np.ndarray, target: float) -> tuple[int, float]:
    """Return how many shares of a class (0..1) are none at all, and how far all are from the target."""
    return int((shares == 0).sum()), float(np.abs(shares - target).sum())


def budget_splits(index: pd.DataFrame, profile: Profile, tested: Sequence[np.ndarray] = ()) -> pd.DataFrame:
    """Draw the training and validation images of every budget and replicate (`records.SPLITS`).

    `index` lists the development images. A budget is a fraction (0..1] of its patients. Per replicate the patients are
    put in one random order, of which each budget is a prefix, so budgets are nested. If a class would have fewer than
    two patients in the smallest budget, the next patients in that order who have it are moved to the front, the rarest
    class first. Of each budget's own patients the fraction `prepare.validation_fraction` is cut for validation. With
    `replication.disjoint_patients` the patients are first dealt out to the replicates, at random. With `tested`
    (patients str [n] of every replicate, see `folds`) those are the replicate's test patients, and its budgets are
    fractions of the others. A class of a single patient, or a budget too small for two of each, raises `UserError`.
    """
    root_seed, generators, parts = profile.replication.root_seed, profile.replication.generators, []
    hands = [index["patient_id"].unique()] * generators
    if profile.replication.disjoint_patients:
        everybody = np.unique(index["patient_id"])
        hands = np.array_split(seeds.generator(root_seed, "disjoint patients").permutation(everybody), generators)
    for replicate, hand in enumerate(hands):
        in_test = index["patient_id"].isin(tested[replicate] if tested else [])
        counts = count(index[~in_test])
        n_patients = len(counts)
        rest = index[~in_test & index["patient_id"].isin(hand)]
        counts = counts[counts.index.isin(hand)]
        where = f" without fold {replicate}" if tested else f" of replicate {replicate}" * (len(hand) < n_patients)
        check_two_patients(counts, f"the development set{where}")
        sizes = {name: max(1, round(share * n_patients)) for name, share in profile.budgets.items()}
        order = _patient_order(counts, min(sizes.values()), seeds.generator(root_seed, "budget", replicate))
        for budget in profile.budgets_by_size():
            members = order[:sizes[budget]]
            held_out = cut(counts, members, profile.prepare.validation_fraction,
                           seeds.generator(root_seed, "validation", budget, replicate))
            chosen = rest[rest["patient_id"].isin(counts.index[members])]
            validation = chosen["patient_id"].isin(counts.index[held_out])
            rows = pd.concat([chosen.assign(role=np.where(validation, "validation", "train")),
                              index[in_test].assign(role="test")])
            parts.append(rows.assign(budget=budget, replicate=replicate))
    return records.SPLITS.typed(pd.concat(parts))


def check_two_patients(counts: pd.DataFrame, where: str) -> None:
    """Raise `UserError` for a class with fewer than two patients, which cannot be on both sides of a split."""
    for label, patients in (counts > 0).sum().items():
        if patients < 2:
            raise UserError(f"class '{label}' has images of {'a single patient' if patients else 'no patient'} in "
                            f"{where}: add patients or leave the class out.")


def cut(counts: pd.DataFrame, members: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Cut about `fraction` of the patients `members` (rows of `count`, integer), at least one, in ascending order.

    Of several random cuts the one is returned that has most classes on both sides and, among those, comes nearest to
    `fraction` of each class's images: patients have 1 to 88 images, so a plain draw of few patients can take most of a
    class. No class ever loses its last remaining patient; to serve a class, more than `fraction` may be cut.
    """
    images, size = counts.to_numpy(), max(1, round(fraction * len(members)))
    total = images[members].sum(axis=0)
    present = total > 0
    cuts = [_try_cut(images > 0, rng.permutation(members), size) for _ in range(_DRAWS)]
    best = min(cuts, key=lambda taken: _unevenness(images[taken].sum(axis=0)[present] / total[present], fraction))
    if not len(best):
        raise UserError(f"none of {len(members)} patients can be held out without losing a class: add patients.")
    return np.sort(best)


def _try_cut(holds: np.ndarray, order: np.ndarray, size: int) -> np.ndarray:
    """Cut greedily along `order`: first a patient per class (rarest first), then up to `size` patients."""
    remaining = holds[order].sum(axis=0)  # patients per class that stay
    taken: list[int] = []

    def take(patients: np.ndarray, most: int) -> None:
        """Take those of the patients, in their order, who may go, until `most` are taken."""
        nonlocal remaining
        for patient in patients.tolist():
            if len(taken) >= most:
                return
            if patient not in taken and (remaining[holds[patient]] > 1).all():
                taken.append(patient)
                remaining = remaining - holds[patient]

    for label in np.argsort(remaining, kind="stable"):
        if not holds[taken, label].any():
            take(order[holds[order, label]], len(taken) + 1)
    take(order, size)
    return np.array(taken, dtype=np.int64)


def _patient_order(counts: pd.DataFrame, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return all patients in random order, with two patients of every class among the first `size`."""
    rest = rng.permutation(len(counts)).tolist()
    holds = counts.to_numpy() > 0
    rarest_first = np.argsort(holds.sum(axis=0), kind="stable")
    front: list[int] = []
    while True:
        prefix = (front + rest)[:size]
        lacking = [label for label in rarest_first if holds[prefix, label].sum() < 2]
        if not lacking:
            return np.array(front + rest, dtype=np.int64)
        if len(front) >= size:
            raise UserError(f"the smallest budget is {size} patients, too few to hold two patients of class "
                            f"'{counts.columns[lacking[0]]}' and of every other class: raise its fraction.")
        # The front stays; the next patient with the class moves up, and the last of the prefix drops out.
        promoted = next(patient for patient in rest[size - len(front):] if holds[patient, lacking[0]])
        rest.remove(promoted)
        front.append(promoted)
