"""Predicted probabilities as `predict` left them: read, checked, and kept beside their runs and images.

One `Predictions` holds all architectures of one budget, because they share one `images.csv`. Nothing is
averaged over what happens to be there: a run too many or too few, or a row that is no distribution, is
refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from synthplanes.errors import UserError
from synthplanes.records import PREDICTED, RUNS, Table, read_array, read_table

Cell = tuple[str, str, str, int, int]
"""One trained classifier: (arm, architecture role, budget, replicate, seed)."""

SUM_TOLERANCE = 1e-3  # how far the probabilities of one image may sum from 1; a float32 softmax keeps 1e-6
ROLES = ("validation", "test")


@dataclass(frozen=True)
class Predictions:
    """What every classifier of one budget said about every held-out image."""

    runs: Table                # records.RUNS, one row per classifier
    images: Table              # records.PREDICTED, one row per image
    probabilities: np.ndarray  # float32 [runs, images, classes], each row sums to 1
    classes: tuple[str, ...]

    @property
    def budget(self) -> str:
        return str(self.runs["budget"][0])

    @cached_property
    def labels(self) -> np.ndarray:
        """int [images]: the position of each image's label in `classes`."""
        order = np.argsort(self.classes)
        return order[np.searchsorted(np.asarray(self.classes)[order], self.images["label"])]

    @cached_property
    def correct(self) -> np.ndarray:
        """bool [runs, images]: whether the most probable class (the first of equals) is the label."""
        return self.probabilities.argmax(axis=2) == self.labels

    @cached_property
    def cells(self) -> list[Cell]:
        """One identity per run, in the order of `runs`."""
        return list(zip(*(self.runs[name].tolist() for name in RUNS.columns)))

    def rows(self, role: str) -> np.ndarray:
        """bool [images]: the images of one role, `validation` or `test`."""
        return self.images["role"] == role


def read_predictions(folders: Sequence[tuple[str, Path]], classes: Sequence[str]) -> Predictions:
    """Read the prediction folders of ONE budget, given as (architecture role, folder), into one table.

    Each folder holds `probabilities.npy` float32 [runs, images, classes], `runs.csv` and `images.csv`.
    Raises `UserError` where files are missing or disagree, where a label, a role or an architecture is
    unknown, where two runs have one identity, or where probabilities are not a distribution.
    """
    if not folders:
        raise UserError("No prediction folder was given: name one per architecture, then run evaluate again.")
    classes = tuple(classes)
    first = Path(folders[0][1])
    images = read_table(first / "images.csv", PREDICTED)
    _refuse_unknown(images, classes, first / "images.csv")
    runs, arrays = [], []
    for role, folder in folders:
        folder = Path(folder)
        if folder != first and not _same(images, read_table(folder / "images.csv", PREDICTED)):
            raise UserError(f"{folder / 'images.csv'} lists other images than {first / 'images.csv'}: "
                            "run predict again for every architecture of this budget.")
        table = read_table(folder / "runs.csv", RUNS)
        if set(table["arch"].tolist()) != {role}:
            found = ", ".join(sorted(set(table["arch"].tolist()))) or "nothing"
            raise UserError(f"{folder / 'runs.csv'} holds runs of {found} in the place of {role}: "
                            "run predict again for this architecture.")
        array = read_array(folder / "probabilities.npy")
        _refuse_bad_probabilities(array, (len(table), len(images), len(classes)), table, folder)
        runs += table.rows()
        arrays.append(array)
    runs = Table.of_rows(RUNS, runs)
    if len(set(runs["budget"].tolist())) > 1:
        raise UserError(f"The prediction folders mix the budgets {sorted(set(runs['budget'].tolist()))} "
                        f"(the first is {first}): read one budget at a time.")
    probabilities = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    predictions = Predictions(runs, images, probabilities, classes)
    _refuse_twins(predictions.cells, first)
    return predictions


def refuse_other_cells(present: Iterable[Cell], expected: Iterable[Cell]) -> None:
    """Raise `UserError` unless the runs at hand are exactly the runs that the protocol asks for."""
    present, expected = set(present), set(expected)
    for cells, fault, cure in ((expected - present, "lack", "run the stages that train and predict them"),
                               (present - expected, "hold", "delete the predictions and run predict again")):
        if cells:
            arm, arch, budget, replicate, seed = min(cells)
            surplus = " which the protocol does not know" if fault == "hold" else ""
            raise UserError(f"The predictions {fault} {len(cells)} run(s){surplus}, the first being "
                            f"arm {arm}, architecture {arch}, budget {budget}, replicate {replicate}, "
                            f"seed {seed}: {cure}.")


def _same(one: Table, other: Table) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in PREDICTED.columns)


def _refuse_unknown(images: Table, classes: tuple[str, ...], path: Path) -> None:
    if not len(images):
        raise UserError(f"{path} lists no image: run predict again.")
    for column, known in (("label", classes), ("role", ROLES)):
        unknown = sorted(set(images[column].tolist()) - set(known))
        if unknown:
            raise UserError(f"{path} holds the unknown {column} '{unknown[0]}' (known: {', '.join(known)}): "
                            "make classes.json and the predictions from the same prepared set.")
    identities, counts = np.unique(images["image_id"], return_counts=True)
    if counts.max() > 1:
        raise UserError(f"{path} lists the image '{identities[counts.argmax()]}' more than once: "
                        "run predict again.")


def _refuse_bad_probabilities(array: np.ndarray, shape: tuple, runs: Table, folder: Path) -> None:
    if array.shape != shape:
        raise UserError(f"{folder / 'probabilities.npy'} has the shape {array.shape}, its tables and classes "
                        f"ask for {shape} (runs, images, classes): run predict again.")
    if array.dtype.kind != "f":
        raise UserError(f"{folder / 'probabilities.npy'} holds {array.dtype} in the place of floats: "
                        "run predict again.")
    sums = array.sum(axis=2)
    # A comparison with NaN is false, so NaN and infinities are caught by asking for what is right.
    right = (np.abs(sums - 1) <= SUM_TOLERANCE) & (array.min(axis=2) >= 0)
    if not right.all():
        run, image = np.argwhere(~right)[0]
        identity = ", ".join(f"{name} {runs[name][run]}" for name in RUNS.columns)
        raise UserError(f"{folder / 'probabilities.npy'} holds {int((~right).sum())} row(s) that are no "
                        f"probabilities (NaN, negative or not summing to 1), the first in run {run} "
                        f"({identity}), image {image}: train this run again and look at its loss.")


def _refuse_twins(cells: list[Cell], path: Path) -> None:
    seen = set()
    for cell in cells:
        if cell in seen:
            raise UserError(f"The predictions beside {path} hold the run {cell} twice (arm, architecture, "
                            "budget, replicate, seed): delete them and run predict again.")
        seen.add(cell)
