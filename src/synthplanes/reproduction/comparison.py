"""Two checkouts of one profile compared: stage by stage by digest, and the metrics by their numbers.

Four levels of agreement, from the strongest: every output has its bytes (*bit-exact*); the bytes differ but no
number under metrics/ by more than TOLERANCE (*within tolerance*); the numbers differ but the verdict's word does not
(*same conclusion*); none of these (*different*).
"""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from synthplanes.reproduction.checkout import Cell, Checkout

TOLERANCE = 0.005  # of a fraction: half a point; other platforms' floats move a balanced accuracy by less
LEVELS = ("bit-exact", "within tolerance", "same conclusion", "different")


@dataclass(frozen=True)
class Found:
    """One cell of the pipeline after its second run."""

    cell: str
    state: str                         # identical | within tolerance | different | missing
    differing: tuple[str, ...]         # outputs whose bytes are others, or that are missing
    largest_difference: float | None   # of the numbers in them; None where they hold other things than numbers
    other_inputs: tuple[str, ...] = ()  # what went in and is not what was recorded: files, parameters, the command


@dataclass(frozen=True)
class Comparison:
    profile: str
    cells: tuple[Found, ...]           # in the order of the pipeline
    word_before: str | None            # of the verdict, where there is one
    word_after: str | None

    @property
    def first_that_differs(self) -> str | None:
        return next((found.cell for found in self.cells if found.state != "identical"), None)

    @property
    def first_from_other_inputs(self) -> str | None:
        return next((found.cell for found in self.cells if found.other_inputs), None)

    @property
    def level(self) -> str:
        if self.first_that_differs is None:
            return "bit-exact"
        with_numbers = [found for found in self.cells if found.largest_difference is not None]
        if any(found.state == "missing" for found in self.cells) or not with_numbers:
            return "different"
        if all(found.largest_difference <= TOLERANCE for found in with_numbers):
            return "within tolerance"
        return "same conclusion" if self.word_before and self.word_before == self.word_after else "different"

    def as_dict(self) -> dict:
        return {"profile": self.profile, "level": self.level, "first_that_differs": self.first_that_differs,
                "first_from_other_inputs": self.first_from_other_inputs, "word_before": self.word_before,
                "word_after": self.word_after, "tolerance": TOLERANCE,
                "cells": [{**asdict(found), "largest_difference": _finite(found.largest_difference)}
                          for found in self.cells]}


def compare(profile: str, before: Checkout, after: Checkout, stages: list[str]) -> Comparison:
    """Compare the outputs that `before` records with those of `after`; `stages` is the pipeline's order.

    Digests come from both dvc.lock; the numbers of metrics/ from the files in both roots.
    """
    cells = [cell for cell in before.cells.values() if cell.profile == profile and cell.stage in stages]
    cells.sort(key=lambda cell: (stages.index(cell.stage), cell.name))
    made = {path for cell in before.cells.values() for path in cell.outs}
    found = []
    for cell in cells:
        again = after.cells.get(cell.name)
        outs = again.outs if again is not None else {}
        differing = tuple(sorted(path for path in cell.outs if outs.get(path) != cell.outs[path]))
        distances = [distance(before.root / path, after.root / path) for path in differing if path.startswith("metrics/")]
        largest = max(distances, default=None)
        if not differing:
            state, largest = "identical", 0.0 if any(path.startswith("metrics/") for path in cell.outs) else None
        elif any(path not in outs for path in differing):
            state = "missing"
        else:
            all_numbers = len(distances) == len(differing)
            state = "within tolerance" if all_numbers and largest <= TOLERANCE else "different"
        found.append(Found(cell.name, state, differing, largest, other_inputs(cell, again, made) if again else ()))
    return Comparison(profile, tuple(found), word(before.root, profile), word(after.root, profile))


def other_inputs(before: Cell, after: Cell, made: set[str]) -> tuple[str, ...]:
    """What a cell was made from the second time and not the first: files that no cell of the pipeline makes (raw
    images, the digests of its code, the locked packages), parameters, its command. Bytes may agree all the same."""
    def inside(path: str) -> bool:
        return any(path == out or path.startswith(f"{out}/") for out in made)
    files = {path for path in before.deps.keys() | after.deps.keys()
             if before.deps.get(path) != after.deps.get(path) and not inside(path)}
    parameters = {name for name, value in after.params.items() if name not in before.params or before.params[name] != value}
    return (*sorted(files), *sorted(parameters), *(["its command"] if before.cmd != after.cmd else []))


def word(root: Path, profile: str) -> str | None:
    """The verdict's word, where the profile has one."""
    path = root / "metrics" / profile / "verdict.json"
    return json.loads(path.read_text(encoding="utf-8"))["overall"]["word"] if path.is_file() else None


def distance(one: Path, other: Path) -> float:
    """The largest absolute difference between the numbers of two JSON or CSV files; infinite where anything else
    than a number differs. Other files (the report's text) repeat those numbers and count as equal; so does the
    number of openings, which grows by every run that does not give the same bytes."""
    if one.suffix not in (".json", ".csv") or one.name == "openings.csv":
        return 0.0
    if not (one.is_file() and other.is_file()):
        return math.inf
    return _between(_content(one), _content(other))


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity: what differs in more than numbers has no largest difference."""
    return value if value is not None and math.isfinite(value) else None


def _content(path: Path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [[_number(cell) for cell in row] for row in csv.reader(io.StringIO(text))]


def _number(cell: str):
    try:
        return float(cell)
    except ValueError:
        return cell


def _between(one, other) -> float:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_between(one[key], other[key]) for key in one if key != "openings"), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_between(*pair) for pair in zip(one, other)), default=0.0)
    if _is_number(one) and _is_number(other):
        return 0.0 if one == other else abs(one - other)
    # Sentences quote numbers and may differ with them; the numbers themselves are compared above.
    return 0.0 if one == other or (isinstance(one, str) and isinstance(other, str) and " " in one) else math.inf


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
