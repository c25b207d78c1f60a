"""Trace one number of the results back to the first input.

A number's name is its row's identity, the parts joined by slashes:

    real/residual/scarce/r0/s3/balanced_accuracy      a row of scores.csv
    fair/mean/scarce/balanced_accuracy                a row of contrasts.csv: contrast, architecture, budget, metric
    overall                                           the profile's verdict
"""

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS, TRAINING_STAGES, needed_by, uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import Run
from synthplanes.reproduction.checkout import Checkout, LockedStage, flat, git, head, last_change

_QUOTING = {"plan", "evaluate"}  # stages that read other stages' parameters without being changed by most of them
_WIDTH = 118  # characters of a line


@dataclass(frozen=True)
class Number:
    """A number of the results and what it describes."""

    name: str
    file: str                           # relative to the root
    value: float | str
    arms: tuple[str, ...]
    archs: tuple[str, ...]
    budget: str
    classifier: Run | None = None       # of a row of scores.csv


@dataclass(frozen=True)
class Step:
    """One locked stage on the way to the number."""

    stage: str
    command: str
    inputs: dict[str, str]              # path -> md5, as in dvc.lock
    outputs: dict[str, str]
    parameters: dict[str, Any]          # by dotted name; empty where the protocol file is not available
    code: dict[str, str]                # module -> SHA-256 of its statements
    state: str                          # present | absent | changed: the worst among its outputs
    mlflow_run: str | None              # in the local store


@dataclass(frozen=True)
class Lineage:
    """A number with all stages that it depends on, from the first to the last."""

    number: Number
    revision: str                       # of this checkout
    recorded_by: str                    # the last commit that changed the number's file
    mlflow_run: str | None              # the classifier's own run, of a row of scores.csv
    steps: tuple[Step, ...]

    def lines(self, everything: bool = False) -> list[str]:
        """Return one line per stage and the parameters that matter; `everything` adds commands, files and code."""
        lines = [f"{self.number.name} = {self.number.value}", f"  file         {self.number.file}",
                 f"  recorded by  {self.recorded_by}", f"  checkout     {self.revision}"]
        if self.number.classifier is not None:
            lines.append(f"  MLflow run   {self.mlflow_run or 'none (`synthplanes track` makes it)'}")
        width = max(len(step.stage) for step in self.steps)
        lines += ["", f"{'stage':{width}}  outputs  MLflow run"]
        for step in self.steps:
            lines.append(f"{step.stage:{width}}  {step.state:7}  {step.mlflow_run or '-'}")
            if everything:
                lines += [f"    {step.command}"]
                lines += [f"    in    {md5:<36}  {path}" for path, md5 in sorted(step.inputs.items())]
                lines += [f"    out   {md5:<36}  {path}" for path, md5 in sorted(step.outputs.items())]
                lines += [f"    code  {sha256:.16}  {module}" for module, sha256 in sorted(step.code.items())]
                lines += [f"    set   {name} = {value}" for name, value in sorted(step.parameters.items())]
        if not everything:
            lines += ["", *self._parameter_lines(), "", "`--all` adds commands, inputs, outputs and code digests."]
        return lines

    def _parameter_lines(self) -> list[str]:
        """Return each section's parameters once, for the architectures and the budget of the number."""
        sections: dict[str, dict[str, Any]] = {}
        roles = {"archs": self.number.archs, "budgets": (self.number.budget,)}
        for step in self.steps:
            for name, value in step.parameters.items():
                section, _, rest = name.partition(".")
                quoted = step.stage.partition("@")[0] in _QUOTING and section != "evaluate"
                if not quoted and (section not in roles or rest.partition(".")[0] in roles[section]):
                    sections.setdefault(section, {})[rest] = value
        if not sections:
            return ["parameters: not here (`dvc pull` brings artifacts/protocol)"]
        return [line for section, values in sections.items() for line in textwrap.wrap(
            ", ".join(f"{rest} {value}" for rest, value in sorted(values.items())), _WIDTH,
            initial_indent=f"{section:16}", subsequent_indent=" " * 16, break_long_words=False, break_on_hyphens=False)]


def trace(checkout: Checkout, profile: str, name: str, find_run: Callable[[str], str | None] | None = None
          ) -> Lineage:
    """Return the lineage of the number called `name`; raises `UserError` where the profile has no such number.

    `find_run` returns the id of the MLflow run with a key (`LockedStage.key` or `classifier_key`), where there is one.
    """
    evaluate = checkout.of("evaluate", profile)
    if evaluate is None:
        raise UserError(f"dvc.lock has no results of the profile '{profile}': run it, or name another profile.")
    known = numbers(checkout.root, profile)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
        raise UserError(f"metrics/{profile} has no number '{name}': the nearest names are {', '.join(near)}.")
    number, run, steps = known[name], None, []
    find_run, unrelated = find_run or (lambda key: None), _unrelated(number)
    if number.classifier is not None and (trained := checkout.of(ARMS[number.arms[0]].stage, profile)):
        run = find_run(classifier_key(trained, evaluate, number.classifier))
    for stage in checkout.ancestors(evaluate):
        if stage.stage not in unrelated:
            states = {checkout.state(stage, out) for out in stage.outs}
            worst = next((state for state in ("changed", "absent") if state in states), "present")
            protocol = checkout.protocol(stage)
            steps.append(Step(stage.name, stage.cmd, stage.deps, stage.outs, flat(protocol.get("parameters", {})),
                              protocol.get("code", {}), worst, find_run(stage.key)))
    root = checkout.root
    revision = git(root, "describe", "--always", "--dirty").strip() if head(root) else "no version control"
    return Lineage(number, revision, last_change(root, "HEAD", [number.file]) or "no commit yet", run, tuple(steps))


def classifier_key(trained: LockedStage, evaluate: LockedStage, run: Run) -> str:
    """Return the key of one classifier's run: a hash of the stages that trained and scored it, and of its identity."""
    return records.sha256([trained.key, evaluate.key, *run])[:32]


def numbers(root: Path, profile: str) -> dict[str, Number]:
    """Return every number of the profile's scores.csv and contrasts.csv, and its verdict, by name.

    The verdict, `overall`, rests on the arms of all hypotheses that were judged.
    """
    paths, folder = Paths(profile, root), Paths(profile).metrics.as_posix()
    verdict = records.read_json(paths.metrics / "verdict.json")
    overall, judged = verdict["overall"], verdict["hypotheses"]
    archs = tuple(overall["archs"])  # all that the profile has
    listed = [Number("overall", f"{folder}/verdict.json",
                     "; ".join(f"{name}: {each['verdict']}" for name, each in judged.items()),
                     tuple(sorted({arm for each in judged.values() for arm in (each["arm"], *each["against"])})),
                     archs, overall["budget"])]
    scores = records.read_table(paths.metrics / "scores.csv", records.SCORES)
    for arm, arch, budget, replicate, seed, metric, value in scores.itertuples(index=False):
        listed.append(Number(f"{arm}/{arch}/{budget}/r{replicate}/s{seed}/{metric}", f"{folder}/scores.csv", value,
                             (arm,), (arch,), budget, (arm, arch, budget, replicate, seed)))
    contrasts = records.read_table(paths.metrics / "contrasts.csv", records.CONTRASTS)
    for row in contrasts.itertuples(index=False):
        listed.append(Number(f"{row.contrast}/{row.arch}/{row.budget}/{row.metric}", f"{folder}/contrasts.csv",
                             row.estimate, (row.arm, row.reference), archs if row.arch == "mean" else (row.arch,),
                             row.budget))
    return {number.name: number for number in listed}


def _unrelated(number: Number) -> set[str]:
    """Return the names of stages before `evaluate` on which a number does not depend."""
    arms = {*number.arms, *(needed for arm in number.arms if (needed := needed_by(ARMS[arm])))}
    unrelated = set(TRAINING_STAGES) - {ARMS[arm].stage for arm in arms} | {"protocol"}
    if number.name != "overall":
        unrelated.add("audit")
    return unrelated | (set() if any(map(uses_synthetic, arms)) else {"train_diffusion", "train_guide", "sample"})
