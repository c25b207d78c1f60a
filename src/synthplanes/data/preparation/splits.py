"""Who learns from what: nested budgets of patients, and each budget's own validation cut.

Everything is drawn by patient, never by image: nearly every test image of a random image split shares its
patient with training. In cross-validation every patient is tested by one replicate and teaches the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes import records, seeds
from synthplanes.errors import UserError

_CUTS = 32


@dataclass(frozen=True)
class Holdings:
    """How many images of which class each patient has."""

    patients: np.ndarray  # str [P], sorted
    labels: np.ndarray  # str [K], sorted
    images: np.ndarray  # integer [P, K]

    @classmethod
    def of(cls, table: records.Table) -> "Holdings":
        """The holdings of any table with the columns patient_id and label."""
        patients, patient = np.unique(table["patient_id"], return_inverse=True)
        labels, label = np.unique(table["label"], return_inverse=True)
        images = np.zeros((len(patients), len(labels)), dtype=np.int64)
        np.add.at(images, (patient, label), 1)
        return cls(patients, labels, images)

    @property
    def holds(self) -> np.ndarray:
        """bool [P, K]"""
        return self.images > 0


def budget_splits(index: records.Table, fractions: Mapping[str, float], validation_fraction: float,
                  replicates: int, root_seed: int, tested: Sequence[np.ndarray] = ()) -> records.Table:
    """The training and validation images of every budget and replicate (records.SPLITS).

    `index` lists the development images. A budget is a fraction (0..1] of its patients. Per replicate the
    patients are put in one random order, of which each budget is a prefix: so budgets are nested. Only if a
    class would have fewer than two patients in the smallest budget are the next patients in that order who
    hold it drawn to the front (the rarest class first); the order is otherwise untouched. From each budget's
    own patients `validation_fraction` are cut for validation (see `cut`). Replicates are drawn independently.
    With `tested` (patients str [n] of every replicate, see folds.py) those are the replicate's test patients, and
    its budgets are fractions of the others.

    A class with fewer than two patients, or a budget too small to hold two patients of each, raises
    `UserError`.
    """
    for name, fraction in fractions.items():
        if not 0 < fraction <= 1:
            raise UserError(f"budget '{name}' is {fraction} of the training patients: give a fraction in (0, "
                            "1].")
    if not 0 < validation_fraction < 1:
        raise UserError(f"the validation fraction is {validation_fraction}: give a number between 0 and 1.")
    whole, rows = index, []
    for replicate in range(replicates):
        out = np.isin(whole["patient_id"], tested[replicate]) if tested else np.zeros(len(whole), dtype=bool)
        index = whole.select(~out)
        holdings = Holdings.of(index)
        require_two_patients(holdings, "the development set" + (f" without fold {replicate}" if tested else ""))
        order = _patient_order(holdings, min(fractions.values()),
                               seeds.generator(root_seed, "budget", replicate))
        for name, fraction in fractions.items():
            members = order[:_budget_size(fraction, len(order))]
            held_out = cut(holdings, members, validation_fraction,
                           seeds.generator(root_seed, "validation", name, replicate))
            chosen = np.isin(index["patient_id"], holdings.patients[members])
            validation = np.isin(index["patient_id"], holdings.patients[held_out])
            role = np.where(validation, "validation", "train")
            rows += [dict(budget=name, replicate=replicate, image_id=image_id, role=side)
                     for image_id, side in zip(index["image_id"][chosen].tolist(), role[chosen].tolist())]
            rows += [dict(budget=name, replicate=replicate, image_id=image_id, role="test")
                     for image_id in whole["image_id"][out].tolist()]
    return records.Table.of_rows(records.SPLITS, rows)


def require_two_patients(holdings: Holdings, where: str) -> None:
    """Refuse a class that cannot stand on two sides."""
    for label, count in zip(holdings.labels.tolist(), holdings.holds.sum(axis=0).tolist()):
        if count < 2:
            raise UserError(f"class '{label}' has images of a single patient in {where}: add patients or "
                            "leave the class out.")


def cut(holdings: Holdings, members: np.ndarray, fraction: float,
        generator: np.random.Generator) -> np.ndarray:
    """The patients (integer, ascending) cut from `members`: about `fraction` of them, at least one.

    Of several random cuts the one is returned that has most classes on both sides and, among those, holds
    nearest to `fraction` of each class's images: patients have 1 to 88 images, so a plain draw of few
    patients can take most of a class. No class ever loses its last remaining patient; to serve a class, more
    than `fraction` may be cut.
    """
    size = max(1, round(fraction * len(members)))
    total = holdings.images[members].sum(axis=0)
    present = total > 0
    cuts = [_try_cut(holdings.holds, generator.permutation(members), size) for _ in range(_CUTS)]

    def fault(taken: np.ndarray) -> tuple[int, float]:
        share = holdings.images[taken].sum(axis=0)[present] / total[present]
        return int((share == 0).sum()), float(np.abs(share - fraction).sum())

    best = min(cuts, key=fault)
    if not len(best):
        raise UserError(f"none of {len(members)} patients can be held out without losing a class: add "
                        "patients.")
    return np.sort(best)


def _try_cut(holds: np.ndarray, order: np.ndarray, size: int) -> np.ndarray:
    """One greedy cut along `order`: first a patient per class (rarest first), then up to `size` patients."""
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


def _patient_order(holdings: Holdings, smallest: float, generator: np.random.Generator) -> np.ndarray:
    """All patients in random order, with two patients of every class among the smallest budget's."""
    rest = generator.permutation(len(holdings.patients)).tolist()
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
        # Those in the front stay; the next holder further back moves up and pushes the last of the prefix
        # out.
        promoted = next(patient for patient in rest[size - len(front):] if holds[patient, lacking[0]])
        rest.remove(promoted)
        front.append(promoted)
