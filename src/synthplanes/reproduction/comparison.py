"""Compare two checkouts of one profile: every stage's outputs by their md5, and the metrics by their numbers.

There are four outcomes, from the strongest: every output has its bytes (*bit-exact*); the bytes differ, but no number
under metrics/ by more than TOLERANCE (*within tolerance*); the numbers differ, but the verdict's word does not
(*same conclusion*); none of these (*different*).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthplanes.protocol.cells import Paths
from synthplanes.reproduction.checkout import Checkout, LockedStage, flat, inside

TOLERANCE = 0.005  # of a fraction: half a point; other platforms' floats move a balanced accuracy by less
OUTCOMES = ("bit-exact", "within tolerance", "same conclusion", "different")
UNKNOWN_CHANGE = "its parameters, code or packages"
_DESCRIPTIONS = {"analysis_plan", "platform"}  # keys of verdict.json about how it was made, not about the result


@dataclass(frozen=True)
class ComparedStage:
    """One stage of the pipeline after its second run."""

    name: str
    state: str                          # identical | within tolerance | different | not made | absent
    differing: tuple[str, ...]          # outputs with other bytes, or without any
    largest_difference: float | None    # of their numbers; None where there are none, infinite where text differs too
    other_inputs: tuple[str, ...] = ()  # inputs other than the recorded ones: files, parameters, code, packages


@dataclass(frozen=True)
class Comparison:
    """All stages of a profile, and its verdict before and after."""

    stages: tuple[ComparedStage, ...]   # in the order of the pipeline
    word_before: str | None = None      # of the verdict, where there is one
    word_after: str | None = None
    platform: tuple[str, ...] = ()      # differences between the platforms of the two runs, such as `instructions`

    @property
    def first_that_differs(self) -> str | None:
        return next((stage.name for stage in self.stages if stage.state != "identical"), None)

    @property
    def first_from_other_inputs(self) -> str | None:
        return next((stage.name for stage in self.stages if stage.other_inputs), None)

    @property
    def outcome(self) -> str:
        """Return one of OUTCOMES."""
        if self.first_that_differs is None:
            return "bit-exact"
        differences = [stage.largest_difference for stage in self.stages if stage.largest_difference is not None]
        if any(stage.state == "not made" for stage in self.stages) or not differences:
            return "different"
        if max(differences) <= TOLERANCE:
            return "within tolerance"
        return "same conclusion" if self.word_before and self.word_before == self.word_after else "different"


def compare(before: Checkout, after: Checkout, stages: list[LockedStage],
            changes: Mapping[str, tuple[str, ...]]) -> Comparison:
    """Compare the outputs of some stages of `before` with those of `after`.

    md5s come from both dvc.lock, the numbers under metrics/ from the files below both roots. `changes` names, by stage,
    the differences of the second run's protocol files from the recorded ones.
    """
    verdicts = [_verdict(checkout.root, stages[0].profile) for checkout in (before, after)]
    word_before, word_after = (verdict.get("overall", {}).get("word") for verdict in verdicts)
    first, second = (verdict.get("platform", {}) for verdict in verdicts)
    platform = tuple(f"{name} {first.get(name)}, here {second.get(name)}" for name in _differing(first, second))
    compared = [_compare_stage(before, after, stage, changes.get(stage.name, ())) for stage in stages]
    return Comparison(tuple(compared), word_before, word_after, platform)


def _compare_stage(before: Checkout, after: Checkout, stage: LockedStage, changes: tuple[str, ...]) -> ComparedStage:
    again = after.stages.get(stage.name)
    if again is None:
        return ComparedStage(stage.name, "not made", tuple(sorted(stage.outs)), None)
    other_inputs = (*_other_files(before, stage, again), *changes, *(["its command"] if stage.cmd != again.cmd else []))
    differing = tuple(path for path in sorted(stage.outs) if again.outs.get(path) != stage.outs[path])
    distances = [distance(before.root / path, after.root / path) for path in differing if inside(path, "metrics")]
    if not differing:
        largest = 0.0 if any(inside(path, "metrics") for path in stage.outs) else None
        return ComparedStage(stage.name, "identical", (), largest, other_inputs)
    largest = max(distances, default=None)
    only_numbers = largest is not None and len(distances) == len(differing) and largest <= TOLERANCE
    state = "within tolerance" if only_numbers else "different"
    return ComparedStage(stage.name, state, differing, largest, other_inputs)


def _other_files(before: Checkout, stage: LockedStage, again: LockedStage) -> list[str]:
    """Return the files that no stage makes (raw images) and that a stage read in another form."""
    made = [out for maker in before.stages.values() for out in maker.outs]
    return [path for path in _differing(stage.deps, again.deps) if not any(inside(path, out) for out in made)]


def protocol_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the differences of two protocol files' contents: parameters by dotted name, modules by path, packages."""
    if before is None:
        return (UNKNOWN_CHANGE,)
    changed = [name for part in ("parameters", "code") for name in _differing(flat(before[part]), flat(after[part]))]
    return (*changed, *(["packages"] if before["environment"] != after["environment"] else []))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    absent = object()
    return [name for name in sorted(before.keys() | after.keys())
            if before.get(name, absent) != after.get(name, absent)]


def _verdict(root: Path, profile: str) -> dict[str, Any]:
    path = Paths(profile, root).metrics / "verdict.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def distance(one: Path, other: Path) -> float:
    """Return the largest absolute difference between the numbers of two JSON or CSV files.

    Infinite where anything else than a number differs. Sentences and other files (the report's text) repeat those
    numbers and count as equal.
    """
    if one.suffix not in (".json", ".csv"):
        return 0.0
    if not (one.is_file() and other.is_file()):
        return math.inf
    return _between(_content(one), _content(other))


def _content(path: Path) -> Any:
    text = path.read_text(encoding="utf-8") if path.suffix == ".json" else pd.read_csv(path).to_json(
        orient="split", double_precision=15)
    return json.loads(text)


def _between(one: Any, other: Any) -> float:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_between(one[key], other[key]) for key in one.keys() - _DESCRIPTIONS), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_between(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return float(abs(one - other))
    sentences = isinstance(one, str) and isinstance(other, str) and " " in one
    return 0.0 if one == other or sentences else math.inf
