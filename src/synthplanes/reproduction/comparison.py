"""Compare two checkouts of one profile: every stage's outputs by their md5, and the metrics by their numbers.

There are four outcomes, from the strongest: every output has its bytes (*bit-exact*); the bytes differ, but no number
under metrics/ by more than TOLERANCE (*within tolerance*); the numbers differ, but no hypothesis has another word
(*same conclusion*); none of these (*different*).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthplanes import records
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction.checkout import Checkout, LockedStage, flat, inside

TOLERANCE = 0.005  # of a fraction: half a point; other platforms' floats move a balanced accuracy by less
RESTORED, ABSENT = "restored", "absent"  # outcomes where nothing is run
EXIT = {RESTORED: 0, "bit-exact": 0, "within tolerance": 3, "same conclusion": 4, "different": 5, ABSENT: 6}
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_DESCRIPTIONS = {"analysis_plan", "platform"}  # keys of verdict.json about how it was made, not about the result


@dataclass(frozen=True)
class ComparedStage:
    """One stage of the pipeline after its second run."""

    name: str
    state: str                               # identical | within tolerance | different | absent
    differing: tuple[str, ...]               # outputs with other bytes, or without any
    largest_difference: float | None = None  # of their numbers; None without any, infinite where text differs too
    other_inputs: tuple[str, ...] = ()       # other than the recorded ones: files, parameters, code, packages
    remote: str | None = None                # DVC's default one, from which absent outputs may come

    def __str__(self) -> str:
        words = self.state
        if self.differing:
            pull = f"`dvc pull` from the remote '{self.remote}'" if self.remote else "`dvc pull`"
            brings = f" ({pull} or `dvc repro` brings it)" if self.state == ABSENT else ""
            words += f": {', '.join(self.differing)}{brings}"
        if self.state != "identical" and self.largest_difference not in (None, math.inf):
            words += f", largest difference {self.largest_difference:.6f}"
        return words + (f", from other inputs: {', '.join(self.other_inputs)}" if self.other_inputs else "")


@dataclass(frozen=True)
class Verification:
    """The stages of a profile after a second run, or restored; for people (`lines`) and for programs (`as_dict`)."""

    profile: str
    outcome: str                        # a key of EXIT
    stages: tuple[ComparedStage, ...]   # in the order of the pipeline
    word_before: str | None = None      # of the verdict, where there is one; of several hypotheses one after the other
    word_after: str | None = None
    platform: tuple[str, ...] = ()      # differences between the platforms of the two runs, such as `instructions`
    revision: str = ""
    packages: tuple[str, ...] = ()      # installed in other versions than requirements.lock names
    recorded_by: str | None = None      # the commit that recorded the profile's results; None without version control
    out_of_step: str | None = None      # the first stage whose parameters, code or packages are not the recorded ones

    @property
    def first_that_differs(self) -> str | None:
        return next((stage.name for stage in self.stages if stage.state != "identical"), None)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON; an infinite difference becomes null."""
        content = asdict(self)
        for stage in content["stages"]:
            if stage["largest_difference"] == math.inf:
                stage["largest_difference"] = None
        return {**content, "tolerance": TOLERANCE, "first_that_differs": self.first_that_differs,
                "first_from_other_inputs": next((stage.name for stage in self.stages if stage.other_inputs), None)}

    def lines(self) -> list[str]:
        """Return one line per stage, then the packages, the platform, and the outcome last."""
        first, width = self.first_that_differs, max((len(stage.name) for stage in self.stages), default=0)
        lines = [f"{stage.name:{width}}  {stage}" for stage in self.stages]
        lines.append(f"packages: {'; '.join(self.packages) or 'as in requirements.lock'}")
        if self.out_of_step:
            where = f"; the results came with commit {self.recorded_by}: verify that one" if self.recorded_by else ""
            lines.append(f"{self.out_of_step} has parameters, code or packages other than the recorded ones{where}")
        if self.platform:
            lines.append(f"platform: {'; '.join(self.platform)}: this gives other bytes, so expect the same "
                         "conclusion at best")
        elif first and self.outcome not in (RESTORED, ABSENT):
            lines.append("other vector instructions, another number of threads or other packages give other bytes: "
                         "there, expect the same conclusion at best")
        end = f"; first that differs: {first}" if first else ""
        return [*lines, f"{self.revision}, profile {self.profile}: {self.outcome}{end}"]


def compare(before: Checkout, after: Checkout, stages: list[LockedStage],
            changes: Mapping[str, tuple[str, ...]]) -> Verification:
    """Compare the outputs of some stages of `before` with those of `after`.

    md5s come from both dvc.lock, the numbers under metrics/ from the files below both roots. `changes` names, by stage,
    the differences of the second run's protocol files from the recorded ones.
    """
    profile, compared = stages[0].profile, tuple(_compare_stage(before, after, stage, changes) for stage in stages)
    verdicts = [records.read_json(path) if path.is_file() else {} for path in (
        Paths(profile, checkout.root).metrics / "verdict.json" for checkout in (before, after))]
    word_before, word_after = map(_words, verdicts)
    first, second = (verdict.get("platform", {}) for verdict in verdicts)
    platform = tuple(f"{name} {first.get(name)}, here {second.get(name)}" for name in _differing(first, second))
    differences = [stage.largest_difference for stage in compared if stage.largest_difference is not None]
    if all(stage.state == "identical" for stage in compared):
        outcome = "bit-exact"
    elif differences and max(differences) <= TOLERANCE:
        outcome = "within tolerance"
    else:
        outcome = "same conclusion" if differences and word_before and word_before == word_after else "different"
    return Verification(profile, outcome, compared, word_before, word_after, platform)


def _words(verdict: Mapping[str, Any]) -> str | None:
    """Return the words on all hypotheses; a verdict without hypotheses has one word, an absent verdict None."""
    judged = verdict.get("hypotheses") or {"overall": verdict.get("overall", {})}
    return "; ".join(each["word"] for each in judged.values() if "word" in each) or None


def _compare_stage(before: Checkout, after: Checkout, stage: LockedStage, changes: Mapping[str, tuple[str, ...]]
                   ) -> ComparedStage:
    again = after.stages[stage.name]
    made = [out for maker in before.stages.values() for out in maker.outs]
    # Of the inputs that differ, those that no stage makes (raw images): the others follow from what differs earlier.
    files = [path for path in _differing(stage.deps, again.deps) if not any(inside(path, out) for out in made)]
    other_inputs = (*files, *changes.get(stage.name, ()), *(["its command"] if stage.cmd != again.cmd else []))
    differing = tuple(path for path in sorted(stage.outs) if again.outs.get(path) != stage.outs[path])
    if not differing:
        largest = 0.0 if any(inside(path, "metrics") for path in stage.outs) else None
        return ComparedStage(stage.name, "identical", (), largest, other_inputs)
    distances = [distance(before.root / path, after.root / path) for path in differing if inside(path, "metrics")]
    largest = max(distances, default=None)
    only_numbers = largest is not None and len(distances) == len(differing) and largest <= TOLERANCE
    return ComparedStage(stage.name, "within tolerance" if only_numbers else "different", differing, largest,
                         other_inputs)


def protocol_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the differences of two protocol files' contents: parameters by dotted name, modules by path, packages."""
    if before is None:
        return ("its parameters, code or packages",)
    changed = [name for part in ("parameters", "code") for name in _differing(flat(before[part]), flat(after[part]))]
    return (*changed, *(["packages"] if before["environment"] != after["environment"] else []))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    absent = object()
    return [name for name in sorted(before.keys() | after.keys())
            if before.get(name, absent) != after.get(name, absent)]


def distance(one: Path, other: Path) -> float:
    """Return the largest absolute difference between the numbers of two JSON or CSV files.

    Infinite where anything else than a number differs. Sentences that differ in numbers only, and other files (the
    report's text), repeat those numbers and count as equal.
    """
    if one.suffix not in (".json", ".csv"):
        return 0.0
    if not (one.is_file() and other.is_file()):
        return math.inf
    contents = [records.read_json(path) if path.suffix == ".json" else
                json.loads(pd.read_csv(path).to_json(orient="split", double_precision=15)) for path in (one, other)]
    return _between(*contents)


def _between(one: Any, other: Any) -> float:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_between(one[key], other[key]) for key in one.keys() - _DESCRIPTIONS), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_between(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return float(abs(one - other))
    if isinstance(one, str) and isinstance(other, str) and " " in one:
        one, other = (_NUMBER.sub("0", text) for text in (one, other))
    return 0.0 if one == other else math.inf
