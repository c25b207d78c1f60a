"""Read and check predicted probabilities, and keep them beside their runs and images.

One `Predictions` holds all architectures of one budget, because they share one `images.csv`. No mean is taken over an
incomplete set: a surplus or missing run, or a row that is no distribution, raises an error.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Run
from synthplanes.records import PREDICTED, RUNS, read_array, read_table

SUM_TOLERANCE = 1e-3  # how far the probabilities of one image may sum from 1; a float32 softmax keeps 1e-6
ROLES = ("validation", "test")
Pair = tuple[int, int]
"""(replicate, seed): what the runs of one contrast share."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of every classifier of one budget for every held-out image."""

    runs: pd.DataFrame         # records.RUNS, one row per classifier
    images: pd.DataFrame       # records.PREDICTED, one row per image
    probabilities: np.ndarray  # float32 [runs, images, classes], each row sums to 1
    classes: tuple[str, ...]

    @property
    def budget(self) -> str:
        """Return the budget of all runs."""
        return str(self.runs["budget"].iloc[0])

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the position of each image's label in `classes`, int [images]."""
        return pd.Index(self.classes).get_indexer(self.images["label"])

    @cached_property
    def correct(self) -> np.ndarray:
        """Return whether the most probable class (the first of equals) is the label, bool [runs, images]."""
        return self.probabilities.argmax(axis=2) == self.labels

    @cached_property
    def identities(self) -> list[Run]:
        """Return one identity per run, in the order of `runs`."""
        return list(zip(*(self.runs[name].tolist() for name in RUNS.columns), strict=True))

    @cached_property
    def runs_of(self) -> dict[tuple[str, str], dict[Pair, int]]:
        """Map (arm, architecture) to its runs: each (replicate, seed) to its position in `runs`."""
        found: dict[tuple[str, str], dict[Pair, int]] = defaultdict(dict)
        for row, (arm, arch, _, replicate, seed) in enumerate(self.identities):
            found[arm, arch][replicate, seed] = row
        return dict(found)

    def of_replicate(self, replicate: int) -> "Predictions":
        """Return the runs of one replicate."""
        own = (self.runs["replicate"] == replicate).to_numpy()
        return Predictions(self.runs[own].reset_index(drop=True), self.images, self.probabilities[own], self.classes)

    def column(self, name: str) -> np.ndarray:
        """Return a column of `images` as an array of str [images]."""
        return np.asarray(self.images[name].tolist(), dtype=np.str_)

    def rows(self, role: str) -> np.ndarray:
        """Return which images have a role, `validation` or `test`: bool [images]."""
        return (self.images["role"] == role).to_numpy()


def read_predictions(folders: Sequence[tuple[str, Path]], classes: Sequence[str]) -> Predictions:
    """Read the prediction folders of one budget, given as (architecture role, folder), into one table.

    Each folder holds `probabilities.npy` float32 [runs, images, classes], `runs.csv` and `images.csv`.
    Raises `UserError` where files are missing or disagree, where a label, a role or an architecture is unknown, where
    two runs have one identity, or where probabilities are not a distribution.
    """
    if not folders:
        raise UserError("No prediction folder was given: name one per architecture, then run evaluate again.")
    first = folders[0][1]
    images = read_table(first / "images.csv", PREDICTED)
    _check_images(images, classes, first / "images.csv")
    tables, arrays = [], []
    for role, folder in folders:
        if folder != first and not images.equals(read_table(folder / "images.csv", PREDICTED)):
            raise UserError(f"{folder / 'images.csv'} lists other images than {first / 'images.csv'}: "
                            "run predict again for every architecture of this budget.")
        table = read_table(folder / "runs.csv", RUNS)
        if set(table["arch"]) != {role}:
            raise UserError(f"{folder / 'runs.csv'} holds runs of {', '.join(sorted(set(table['arch']))) or 'nothing'} "
                            f"in the place of {role}: run predict again for this architecture.")
        array = read_array(folder / "probabilities.npy")
        _check_probabilities(array, (len(table), len(images), len(classes)), table, folder / "probabilities.npy")
        tables.append(table)
        arrays.append(array)
    runs = pd.concat(tables, ignore_index=True)
    if len(budgets := sorted(set(runs["budget"]))) > 1:
        raise UserError(f"The prediction folders mix the budgets {budgets} (the first is {first}): "
                        "read one budget at a time.")
    predictions = Predictions(runs, images, arrays[0] if len(arrays) == 1 else np.concatenate(arrays), tuple(classes))
    if (twins := runs.duplicated()).any():
        raise UserError(f"The predictions beside {first} hold the run {predictions.identities[twins.argmax()]} twice "
                        "(arm, architecture, budget, replicate, seed): delete them and run predict again.")
    return predictions


def check_runs(present: Iterable[Run], expected: Iterable[Run]) -> None:
    """Raise `UserError` unless the runs at hand are exactly the runs that the protocol asks for."""
    present, expected = set(present), set(expected)
    for runs, fault, which, cure in (
            (expected - present, "lack", "", "run the stages that train and predict them"),
            (present - expected, "hold", " which the protocol does not know",
             "delete the predictions and run predict again")):
        if runs:
            arm, arch, budget, replicate, seed = min(runs)
            raise UserError(f"The predictions {fault} {len(runs)} run(s){which}, the first being arm {arm}, "
                            f"architecture {arch}, budget {budget}, replicate {replicate}, seed {seed}: {cure}.")


def _check_images(images: pd.DataFrame, classes: Sequence[str], path: Path) -> None:
    if not len(images):
        raise UserError(f"{path} lists no image: run predict again.")
    for column, known in (("label", classes), ("role", ROLES)):
        if unknown := sorted(set(images[column]) - set(known)):
            raise UserError(f"{path} holds the unknown {column} '{unknown[0]}' (known: {', '.join(known)}): "
                            "make classes.json and the predictions from the same prepared set.")
    if (twice := images["image_id"].duplicated()).any():
        raise UserError(f"{path} lists the image '{images['image_id'][twice].min()}' more than once: "
                        "run predict again.")


def _check_probabilities(array: np.ndarray, shape: tuple[int, ...], runs: pd.DataFrame, path: Path) -> None:
    if array.shape != shape:
        raise UserError(f"{path} has the shape {array.shape}, its tables and classes "
                        f"ask for {shape} (runs, images, classes): run predict again.")
    if array.dtype.kind != "f":
        raise UserError(f"{path} holds {array.dtype} in the place of floats: run predict again.")
    # A comparison with NaN is false, so a check for valid values also catches NaN and infinities.
    right = (np.abs(array.sum(axis=2) - 1) <= SUM_TOLERANCE) & (array.min(axis=2) >= 0)
    if not right.all():
        run, image = np.argwhere(~right)[0]
        identity = ", ".join(f"{name} {value}" for name, value in runs.iloc[run].items())
        raise UserError(f"{path} holds {int((~right).sum())} row(s) that are no "
                        f"probabilities (NaN, negative or not summing to 1), the first in run {run} "
                        f"({identity}), image {image}: train this run again and look at its loss.")
