"""Draw nested budgets of patients, each budget's own validation cut, and the folds of a cross-validation.

Everything is drawn by patient, never by image: nearly every test image of a random image split shares its patient with
training. In cross-validation every patient is tested by one replicate and trains the others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthplanes import records, seeds
from synthplanes.data.preparation.duplicates import connected
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile

NOBODY = np.zeros((0, 2), dtype=np.str_)  # no patients with nearly equal images
_DRAWS = 32  # random cuts and divisions into folds, of which the best is taken


def count(table: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each patient (the index, sorted) and class (the columns, sorted)."""
    return table.groupby(["patient_id", "label"]).size().unstack(fill_value=0)


def alike_patients(patient: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return pairs of patient numbers (str [N]) with nearly equal images (`near_groups`, integer [N]), str [M, 2].

    Each number stands beside the first of its group, so that pairs are no more than images.
    """
    first = pd.Series(patient).groupby(near).transform("first").to_numpy()
    return np.unique(np.stack([first, patient], axis=1)[first != patient].astype(str), axis=0)


def _groups(patients: pd.Index, alike: np.ndarray) -> pd.Series:
    """Return the number of each patient's group: those `alike`, directly or through others."""
    return pd.Series(connected(len(patients), patients.get_indexer(alike.ravel()).reshape(-1, 2))[1], patients)


def draw_test(table: pd.DataFrame, fraction: float, seed: int, alike: np.ndarray = NOBODY) -> np.ndarray:
    """Draw about `fraction` (0..1) of a table's patients for the test; return the role of every row, str [N]."""
    counts = count(table)
    group = _groups(counts.index, alike)
    check_two_patients(counts.groupby(group.to_numpy()).sum(), "the table")
    test = cut(counts, np.arange(len(counts)), fraction, seeds.generator(seed, "test patients"), group)
    return np.where(table["patient_id"].isin(counts.index[test]), "test", "train")


def folds(index: pd.DataFrame, profile: Profile, alike: np.ndarray) -> list[np.ndarray]:
    """Return the test patients (str [n]) of each of the profile's folds: every patient is in one.

    With `cross_validation: patients` they are divided at random; of several draws the one with the most even shares of
    every class is taken. With `scanners` each scanner is a fold, in the order of names. Patients `alike` (pairs of
    patient numbers, str [n, 2]) stay together. An impossible number raises `UserError`.
    """
    counts = count(index)
    group = _groups(counts.index, alike).to_numpy()
    if profile.prepare.cross_validation == "scanners":
        # In the folds every image is tested once, so a person of two scanners belongs to the one with more images.
        of_scanner = index.groupby([group[counts.index.get_indexer(index["patient_id"])], "scanner"]).size().unstack(
            fill_value=0)
        names, own = of_scanner.columns, of_scanner.to_numpy().argmax(axis=1)[group]
        lone = sorted(set(names) - set(names[own]))
        fault = (f"a scanner for every image, and {(index['scanner'] == '').sum():,} have none: fill in the table" if
                 "" in names else
                 f"several scanners, and all images are of {names[0]}: choose patients" if len(names) == 1 else
                 f"a replication.generators for each of the {len(names)} scanners ({', '.join(names)}), and has "
                 f"{profile.folds}: change it" if len(names) != profile.folds else
                 f"patients of its own for every scanner, and those of {lone[0]}, or patients with nearly equal "
                 "images, have more on another: leave it out of the table" if lone else "")
        if fault:
            raise UserError(f"cross-validation by scanners needs {fault}, or choose another prepare.cross_validation.")
        return [counts.index.to_numpy()[own == fold] for fold in range(len(names))]
    n_groups = len(np.unique(group))
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


def budget_splits(index: pd.DataFrame, profile: Profile, tested: Sequence[np.ndarray] = (),
                  alike: np.ndarray = NOBODY) -> pd.DataFrame:
    """Draw the training and validation images of every budget and replicate (`records.SPLITS`).

    `index` lists the development images. A budget is a fraction (0..1] of its patients. Per replicate the patients are
    put in one random order, of which each budget is a prefix, so budgets are nested. If a class would have fewer than
    two patients in the smallest budget, the next patients in that order who have it are moved to the front, the rarest
    class first. Of each budget's own patients the fraction `prepare.validation_fraction` is cut for validation. With
    `replication.disjoint_patients` the patients are first dealt out to the replicates, at random. With `tested`
    (patients str [n] of every replicate, see `folds`) those are the replicate's test patients, and its budgets are
    fractions of the others. Patients `alike` (see `folds`) never stand on two sides: they are held out together, and
    are dealt to one replicate. A class of a single patient, or a budget too small for two of each, raises `UserError`.
    """
    root_seed, generators, parts = profile.replication.root_seed, profile.replication.generators, []
    everybody = np.unique(index["patient_id"])
    hands, group = [everybody] * generators, _groups(pd.Index(everybody), alike)
    if profile.replication.disjoint_patients:
        order = seeds.generator(root_seed, "disjoint patients").permutation(everybody)
        dealt = np.repeat(np.arange(generators), [len(hand) for hand in np.array_split(order, generators)])
        owner = pd.Series(dealt, order).groupby(group[order]).transform("first")
        hands = [order[owner == replicate] for replicate in range(generators)]
    for replicate, hand in enumerate(hands):
        in_test = index["patient_id"].isin(tested[replicate] if tested else [])
        counts = count(index[~in_test])
        n_patients = len(counts)
        rest = index[~in_test & index["patient_id"].isin(hand)]
        counts = counts[counts.index.isin(hand)]
        where = f" without fold {replicate}" if tested else f" of replicate {replicate}" * (len(hand) < n_patients)
        own = group[counts.index]
        check_two_patients(counts.groupby(own.to_numpy()).sum(), f"the development set{where}")
        sizes = {name: max(1, round(share * n_patients)) for name, share in profile.budgets.items()}
        order = _patient_order(counts, own, min(sizes.values()), seeds.generator(root_seed, "budget", replicate))
        for budget in profile.budgets_by_size():
            members = order[:sizes[budget]]
            held_out = cut(counts, members, profile.prepare.validation_fraction,
                           seeds.generator(root_seed, "validation", budget, replicate), own)
            chosen = rest[rest["patient_id"].isin(counts.index[members])]
            validation = chosen["patient_id"].isin(counts.index[held_out])
            rows = pd.concat([chosen.assign(role=np.where(validation, "validation", "train")),
                              index[in_test].assign(role="test")])
            parts.append(rows.assign(budget=budget, replicate=replicate))
    return records.SPLITS.typed(pd.concat(parts))


def check_two_patients(counts: pd.DataFrame, where: str) -> None:
    """Raise `UserError` for a class with fewer than two patients (rows), which cannot be on both sides of a split."""
    for label, patients in (counts > 0).sum().items():
        if patients < 2:
            raise UserError(f"class '{label}' has images of {'a single patient' if patients else 'no patient'} in "
                            f"{where} (those with nearly equal images count as one): add patients or leave the class "
                            "out.")


def cut(counts: pd.DataFrame, members: np.ndarray, fraction: float, rng: np.random.Generator,
        group: pd.Series) -> np.ndarray:
    """Cut about `fraction` of the patients `members` (rows of `count`, integer), at least one, in ascending order.

    Patients of one `group` (its number by patient) are cut together.

    Of several random cuts the one is returned that has most classes on both sides and, among those, comes nearest to
    `fraction` of each class's images: patients have 1 to 88 images, so a plain draw of few patients can take most of a
    class. No class ever loses its last remaining patient; to serve a class, more than `fraction` may be cut.
    """
    images, size = counts.to_numpy(), max(1, round(fraction * len(members)))
    total = images[members].sum(axis=0)
    present = total > 0
    cuts = [_try_cut(images > 0, rng.permutation(members), size, group.to_numpy()) for _ in range(_DRAWS)]
    best = min(cuts, key=lambda taken: _unevenness(images[taken].sum(axis=0)[present] / total[present], fraction))
    if not len(best):
        raise UserError(f"none of {len(members)} patients can be held out without losing a class: add patients.")
    return np.sort(best)


def _try_cut(holds: np.ndarray, order: np.ndarray, size: int, group: np.ndarray) -> np.ndarray:
    """Cut greedily along `order`: first a patient per class (rarest first), then up to `size` patients."""
    remaining = holds[order].sum(axis=0)  # patients per class that stay
    taken: dict[int, None] = {}           # in their order
    together: dict[int, list[int]] = {}
    for patient in order.tolist():
        together.setdefault(group[patient], []).append(patient)

    def take(patients: np.ndarray, most: int) -> None:
        """Take those of the patients, in their order and with their group, who may go, until `most` are taken."""
        nonlocal remaining
        for patient in patients.tolist():
            if len(taken) >= most:
                return
            going = holds[together[group[patient]]].sum(axis=0)
            if patient not in taken and (remaining[going > 0] > going[going > 0]).all():
                taken.update(dict.fromkeys(together[group[patient]]))
                remaining = remaining - going

    for label in np.argsort(remaining, kind="stable"):
        if not holds[list(taken), label].any():
            take(order[holds[order, label]], len(taken) + 1)
    take(order, size)
    return np.array(list(taken), dtype=np.int64)


def _patient_order(counts: pd.DataFrame, group: pd.Series, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return all patients in random order, with patients of two groups for every class among the first `size`."""
    rest = rng.permutation(len(counts)).tolist()
    holds, of = counts.to_numpy() > 0, group.to_numpy()
    rarest_first = np.argsort(holds.sum(axis=0), kind="stable")
    front: list[int] = []
    while True:
        prefix = np.array((front + rest)[:size])
        lacking = [label for label in rarest_first if len(np.unique(of[prefix[holds[prefix, label]]])) < 2]
        if not lacking:
            return np.array(front + rest, dtype=np.int64)
        if len(front) >= size:
            raise UserError(f"the smallest budget is {size} patients, too few to hold two patients of class "
                            f"'{counts.columns[lacking[0]]}' and of every other class: raise its fraction.")
        # The front stays; the next patient with the class moves up, and the last of the prefix drops out.
        there = of[prefix[holds[prefix, lacking[0]]]]
        promoted = next(patient for patient in rest[size - len(front):]
                        if holds[patient, lacking[0]] and of[patient] not in there)
        rest.remove(promoted)
        front.append(promoted)
