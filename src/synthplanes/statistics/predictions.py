"""Read and check predicted probabilities, and keep them beside their runs and images.

One `Predictions` holds all architectures of one budget, because they share one `images.csv`. No mean is taken over an
incomplete set: a surplus or missing run, or a row that is no distribution, raises an error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Run
from synthplanes.records import PREDICTED, RUNS, read_array, read_json, read_table

SUM_TOLERANCE = 1e-3  # how far the probabilities of one image may sum from 1; a float32 softmax keeps 1e-6
ROLES = ("validation", "test")
PLATFORM = {"instructions": str, "threads": int, "torch": str, "capability": str}  # what decides the last bits


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
        order = np.argsort(self.classes)
        return order[np.searchsorted(np.asarray(self.classes)[order], self.column("label"))]

    @cached_property
    def correct(self) -> np.ndarray:
        """Return whether the most probable class (the first of equals) is the label, bool [runs, images]."""
        return self.probabilities.argmax(axis=2) == self.labels

    @cached_property
    def identities(self) -> list[Run]:
        """Return one identity per run, in the order of `runs`."""
        return list(zip(*(self.runs[name].tolist() for name in RUNS.columns), strict=True))

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


def read_origin(path: Path) -> tuple[str, dict[str, Any]]:
    """Read from a profile's cell.json the SHA-256 of the analysis plan of its predictions, and the platform.

    A missing or ill-formed file raises `UserError`.
    """
    content = read_json(path)
    content = content if isinstance(content, dict) else {}
    plan, platform = content.get("analysis_plan"), content.get("platform")
    if not isinstance(plan, str) or not isinstance(platform, dict) or {
            name: type(value) for name, value in platform.items()} != PLATFORM:
        raise UserError(f"{path} names no analysis plan or no platform: run predict again.")
    return plan, platform


def read_predictions(folders: Sequence[tuple[str, Path]], classes: Sequence[str]) -> Predictions:
    """Read the prediction folders of one budget, given as (architecture role, folder), into one table.

    Each folder holds `probabilities.npy` float32 [runs, images, classes], `runs.csv` and `images.csv`.
    Raises `UserError` where files are missing or disagree, where a label, a role or an architecture is unknown, where
    two runs have one identity, or where probabilities are not a distribution.
    """
    if not folders:
        raise UserError("No prediction folder was given: name one per architecture, then run evaluate again.")
    classes = tuple(classes)
    first = Path(folders[0][1])
    images = read_table(first / "images.csv", PREDICTED)
    _check_images(images, classes, first / "images.csv")
    tables, arrays = [], []
    for role, folder in folders:
        folder = Path(folder)
        if folder != first and not images.equals(read_table(folder / "images.csv", PREDICTED)):
            raise UserError(f"{folder / 'images.csv'} lists other images than {first / 'images.csv'}: "
                            "run predict again for every architecture of this budget.")
        table = read_table(folder / "runs.csv", RUNS)
        if set(table["arch"]) != {role}:
            raise UserError(f"{folder / 'runs.csv'} holds runs of {', '.join(sorted(set(table['arch']))) or 'nothing'} "
                            f"in the place of {role}: run predict again for this architecture.")
        array = read_array(folder / "probabilities.npy")
        _check_probabilities(array, (len(table), len(images), len(classes)), table, folder)
        tables.append(table)
        arrays.append(array)
    runs = pd.concat(tables, ignore_index=True)
    if len(budgets := sorted(set(runs["budget"]))) > 1:
        raise UserError(f"The prediction folders mix the budgets {budgets} (the first is {first}): "
                        "read one budget at a time.")
    predictions = Predictions(runs, images, arrays[0] if len(arrays) == 1 else np.concatenate(arrays), classes)
    _check_identities(predictions.identities, first)
    return predictions


def check_runs(present: Iterable[Run], expected: Iterable[Run]) -> None:
    """Raise `UserError` unless the runs at hand are exactly the runs that the protocol asks for."""
    present, expected = set(present), set(expected)
    for runs, fault, cure in ((expected - present, "lack", "run the stages that train and predict them"),
                              (present - expected, "hold", "delete the predictions and run predict again")):
        if runs:
            arm, arch, budget, replicate, seed = min(runs)
            surplus = " which the protocol does not know" if fault == "hold" else ""
            raise UserError(f"The predictions {fault} {len(runs)} run(s){surplus}, the first being "
                            f"arm {arm}, architecture {arch}, budget {budget}, replicate {replicate}, "
                            f"seed {seed}: {cure}.")


def _check_images(images: pd.DataFrame, classes: tuple[str, ...], path: Path) -> None:
    if not len(images):
        raise UserError(f"{path} lists no image: run predict again.")
    for column, known in (("label", classes), ("role", ROLES)):
        if unknown := sorted(set(images[column]) - set(known)):
            raise UserError(f"{path} holds the unknown {column} '{unknown[0]}' (known: {', '.join(known)}): "
                            "make classes.json and the predictions from the same prepared set.")
    if (twice := images["image_id"].duplicated()).any():
        raise UserError(f"{path} lists the image '{images['image_id'][twice].min()}' more than once: "
                        "run predict again.")


def _check_probabilities(array: np.ndarray, shape: tuple[int, ...], runs: pd.DataFrame, folder: Path) -> None:
    if array.shape != shape:
        raise UserError(f"{folder / 'probabilities.npy'} has the shape {array.shape}, its tables and classes "
                        f"ask for {shape} (runs, images, classes): run predict again.")
    if array.dtype.kind != "f":
        raise UserError(f"{folder / 'probabilities.npy'} holds {array.dtype} in the place of floats: "
                        "run predict again.")
    sums = array.sum(axis=2)
    # A comparison with NaN is false, so a check for valid values also catches NaN and infinities.
    right = (np.abs(sums - 1) <= SUM_TOLERANCE) & (array.min(axis=2) >= 0)
    if not right.all():
        run, image = np.argwhere(~right)[0]
        identity = ", ".join(f"{name} {runs[name].iloc[run]}" for name in RUNS.columns)
        raise UserError(f"{folder / 'probabilities.npy'} holds {int((~right).sum())} row(s) that are no "
                        f"probabilities (NaN, negative or not summing to 1), the first in run {run} "
                        f"({identity}), image {image}: train this run again and look at its loss.")


def _check_identities(identities: Sequence[Run], path: Path) -> None:
    seen: set[Run] = set()
    for run in identities:
        if run in seen:
            raise UserError(f"The predictions beside {path} hold the run {run} twice (arm, architecture, "
                            "budget, replicate, seed): delete them and run predict again.")
        seen.add(run)
