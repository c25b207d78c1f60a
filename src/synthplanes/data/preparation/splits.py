"""Draw nested budgets of patients, and each budget's own validation cut.

Everything is drawn by patient, never by image: nearly every test image of a random image split shares its patient with
training. In cross-validation every patient is tested by one replicate and trains the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthplanes import records, seeds
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile

_CUTS = 32  # random cuts, of which the best is taken


@dataclass(frozen=True)
class Holdings:
    """The number of images of each patient and class."""

    patients: np.ndarray    # str [P], sorted
    labels: np.ndarray      # str [K], sorted
    images: np.ndarray      # int64 [P, K]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Holdings":
        """Count the images of a table with the columns patient_id and label."""
        counts = table.groupby(["patient_id", "label"]).size().unstack(fill_value=0)
        return cls(counts.index.to_numpy(), counts.columns.to_numpy(), counts.to_numpy())

    @property
    def holds(self) -> np.ndarray:
        """Return whether each patient has images of each class, bool [P, K]."""
        return self.images > 0


def budget_splits(index: pd.DataFrame, profile: Profile, tested: Sequence[np.ndarray] = ()) -> pd.DataFrame:
    """Draw the training and validation images of every budget and replicate (`records.SPLITS`).

    `index` lists the development images. A budget is a fraction (0..1] of its patients. Per replicate the patients are
    put in one random order, of which each budget is a prefix, so budgets are nested. If a class would have fewer than
    two patients in the smallest budget, the next patients in that order who have it are moved to the front, the rarest
    class first; the order is otherwise unchanged. Of each budget's own patients the fraction
    `prepare.validation_fraction` is cut for validation (see `cut`). Replicates are drawn independently. With `tested`
    (patients str [n] of every replicate, see folds.py) those are the replicate's test patients, and its budgets are
    fractions of the others.

    A class with fewer than two patients, or a budget too small to hold two patients of each, raises `UserError`.
    """
    root_seed, parts = profile.replication.root_seed, []

    def add(rows: pd.DataFrame, budget: str, replicate: int, role: str | np.ndarray) -> None:
        parts.append(rows[["image_id"]].assign(budget=budget, replicate=replicate, role=role))

    for replicate in range(profile.replication.generators):
        in_test = index["patient_id"].isin(tested[replicate] if tested else [])
        rest = index[~in_test]
        holdings = Holdings.of(rest)
        check_two_patients(holdings, "the development set" + (f" without fold {replicate}" if tested else ""))
        order = _patient_order(holdings, min(profile.budgets.values()),
                               seeds.generator(root_seed, "budget", replicate))
        for budget in profile.budgets_by_size():
            members = order[:_budget_size(profile.budgets[budget], len(order))]
            held_out = cut(holdings, members, profile.prepare.validation_fraction,
                           seeds.generator(root_seed, "validation", budget, replicate))
            chosen = rest[rest["patient_id"].isin(holdings.patients[members])]
            validation = chosen["patient_id"].isin(holdings.patients[held_out])
            add(chosen, budget, replicate, np.where(validation, "validation", "train"))
            add(index[in_test], budget, replicate, "test")
    return records.SPLITS.typed(pd.concat(parts))


def check_two_patients(holdings: Holdings, where: str) -> None:
    """Raise `UserError` for a class with a single patient, who cannot be on both sides of a split."""
    for label, count in zip(holdings.labels.tolist(), holdings.holds.sum(axis=0).tolist(), strict=True):
        if count < 2:
            raise UserError(f"class '{label}' has images of a single patient in {where}: add patients or "
                            "leave the class out.")


def cut(holdings: Holdings, members: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Cut about `fraction` of the patients `members` (integer), at least one, and return them in ascending order.

    Of several random cuts the one is returned that has most classes on both sides and, among those, comes nearest to
    `fraction` of each class's images: patients have 1 to 88 images, so a plain draw of few patients can take most of a
    class. No class ever loses its last remaining patient; to serve a class, more than `fraction` may be cut.
    """
    size = max(1, round(fraction * len(members)))
    total = holdings.images[members].sum(axis=0)
    present = total > 0
    cuts = [_try_cut(holdings.holds, rng.permutation(members), size) for _ in range(_CUTS)]

    def fault(taken: np.ndarray) -> tuple[int, float]:
        share = holdings.images[taken].sum(axis=0)[present] / total[present]
        return int((share == 0).sum()), float(np.abs(share - fraction).sum())

    best = min(cuts, key=fault)
    if not len(best):
        raise UserError(f"none of {len(members)} patients can be held out without losing a class: add "
                        "patients.")
    return np.sort(best)


def _try_cut(holds: np.ndarray, order: np.ndarray, size: int) -> np.ndarray:
    """Cut greedily along `order`: first a patient per class (rarest first), then up to `size` patients."""
    remaining = holds[order].sum(axis=0)  # patients per class that stay
    taken: list[int] = []

    def take(patient: int) -> None:
        nonlocal remaining
        taken.append(patient)
        remaining = remaining - holds[patient]

    def may_go(patient: int) -> bool:
        return patient not in taken and bool((remaining[holds[patient]] > 1).all())

    for label in np.argsort(remaining, kind="stable"):
        if not any(holds[patient, label] for patient in taken):
            for patient in order[holds[order, label]].tolist():
                if may_go(patient):
                    take(patient)
                    break
    for patient in order.tolist():
        if len(taken) >= size:
            break
        if may_go(patient):
            take(patient)
    return np.array(taken, dtype=np.int64)


def _budget_size(fraction: float, patients: int) -> int:
    return max(1, round(fraction * patients))


def _patient_order(holdings: Holdings, smallest: float, rng: np.random.Generator) -> np.ndarray:
    """Return all patients in random order, with two patients of every class among the smallest budget's."""
    rest = rng.permutation(len(holdings.patients)).tolist()
    size = _budget_size(smallest, len(rest))
    holds = holdings.holds
    rarest_first = np.argsort(holds.sum(axis=0), kind="stable")
    front: list[int] = []
    while True:
        prefix = (front + rest)[:size]
        lacking = [label for label in rarest_first if holds[prefix, label].sum() < 2]
        if not lacking:
            return np.array(front + rest, dtype=np.int64)
        if len(front) >= size:
            raise UserError(f"the smallest budget is {size} patients, too few to hold two patients of class "
                            f"'{holdings.labels[lacking[0]]}' and of every other class: raise its fraction.")
        # The front stays; the next patient with the class moves up, and the last of the prefix drops out.
        promoted = next(patient for patient in rest[size - len(front):] if holds[patient, lacking[0]])
        rest.remove(promoted)
        front.append(promoted)
