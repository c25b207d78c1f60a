"""`synthplanes trace`: where one number of scores.csv or verdict.json comes from, back to the first input.

A number's name is its row's identity, its parts joined by slashes:

    real/residual/scarce/r0/s3/balanced_accuracy      a row of scores.csv
    fair/mean/scarce/balanced_accuracy                a record of verdict.json: contrast, architecture, budget, metric
    overall                                           the profile's verdict
"""

import difflib
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from synthplanes import records
from synthplanes.reproduction.checkout import Cell, Checkout
from synthplanes.protocol.arms import ARMS
from synthplanes.errors import UserError
from synthplanes.statistics.contrasts import CONFIRMATORY_ARM, REFERENCES
from synthplanes.tracking.projection import classifier_key, trained_by
from synthplanes.reproduction.provenance import makers
from synthplanes.tracking.store import find_run

TRAINING = ("baseline", "pretrain", "finetune", "joint")


@dataclass(frozen=True)
class Number:
    """A number of the results and what it rests on."""

    name: str
    file: str                       # where it stands
    value: float | str | None
    arms: tuple[str, ...]
    archs: tuple[str, ...]
    budget: str
    classifier: tuple[int, int] | None  # (replicate, seed) of a row of scores.csv


@dataclass(frozen=True)
class Step:
    """One cell of the pipeline on the way to the number."""

    cell: str
    command: str
    inputs: dict[str, str]          # path -> md5, as dvc.lock has it
    parameters: dict[str, object]
    outputs: dict[str, str]
    state: str                      # present | absent | changed: the worst among its outputs
    mlflow_run: str | None          # in the local store


@dataclass(frozen=True)
class Lineage:
    number: Number
    revision: str                   # of this checkout
    recorded_by: str                # the last commit that changed the number's file
    mlflow_run: str | None          # the classifier's own run, for a row of scores.csv
    steps: tuple[Step, ...]         # from the first to the last

    def as_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        said = [f"{self.number.name} = {self.number.value}", f"  stands in    {self.number.file}",
                f"  revision     {self.revision}", f"  recorded by  {self.recorded_by}"]
        if self.number.classifier is not None:
            said.append(f"  MLflow run   {_run(self.mlflow_run)}")
        for step in self.steps:
            said += ["", f"{step.cell}  (outputs {step.state})", f"  {step.command}"]
            for title, content in (("in ", step.inputs), ("out", step.outputs)):
                said += [f"  {title}  {md5:<36}  {path}" for path, md5 in sorted(content.items())]
            said += [f"  set  {name} = {value}" for name, value in sorted(step.parameters.items())]
            said.append(f"  MLflow run   {_run(step.mlflow_run)}")
        return said


def trace(checkout: Checkout, profile: str, name: str) -> Lineage:
    """The lineage of the number called `name`; raises `UserError` where the profile has no such number."""
    evaluate = checkout.of("evaluate", profile)
    if evaluate is None:
        raise UserError(f"dvc.lock has no results of the profile '{profile}': run it, or name another profile.")
    number = _find(checkout.root, profile, name)
    trained = {cell.name for arm in number.arms for arch in number.archs
               if (cell := trained_by(checkout, profile, arm, arch, number.budget))}
    wanted = _ancestors(checkout, evaluate, number, trained)
    run = None
    if number.classifier is not None:
        cell = trained_by(checkout, profile, number.arms[0], number.archs[0], number.budget)
        run = cell and find_run(checkout.root, classifier_key(cell, evaluate, number.arms[0], number.archs[0],
                                                              number.budget, *number.classifier))
    return Lineage(number, _git(checkout.root, "describe", "--always", "--dirty"),
                   _git(checkout.root, "log", "-1", "--format=%H", "--", number.file), run,
                   tuple(_step(checkout, cell) for cell in wanted))


def numbers(root: Path, profile: str) -> dict[str, Number]:
    """Every number of the profile's scores.csv and verdict.json by its name."""
    folder = f"metrics/{profile}"
    found = {}
    for row in records.read_table(root / folder / "scores.csv", records.SCORES).rows():
        name = f"{row['arm']}/{row['arch']}/{row['budget']}/r{row['replicate']}/s{row['seed']}/{row['metric']}"
        found[name] = Number(name, f"{folder}/scores.csv", row["value"], (row["arm"],), (row["arch"],), row["budget"],
                             (row["replicate"], row["seed"]))
    verdict = records.read_json(root / folder / "verdict.json")
    archs = tuple(verdict["overall"]["archs"])
    for row in verdict["records"]:
        name = f"{row['contrast']}/{row['arch']}/{row['budget']}/{row['metric']}"
        found[name] = Number(name, f"{folder}/verdict.json", row["estimate"], (row["arm"], row["reference_arm"]),
                             archs if row["arch"] == "mean" else (row["arch"],), row["budget"], None)
    found["overall"] = Number("overall", f"{folder}/verdict.json", verdict["overall"]["verdict"],
                              (CONFIRMATORY_ARM, *REFERENCES), archs, verdict["overall"]["budget"], None)
    return found


def _find(root: Path, profile: str, name: str) -> Number:
    known = numbers(root, profile)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
        raise UserError(f"metrics/{profile} has no number '{name}': the nearest names are {', '.join(near)}.")
    return known[name]


def _ancestors(checkout: Checkout, last: Cell, number: Number, trained: set[str]) -> list[Cell]:
    """The cells that the number rests on, every cell after those whose outputs it reads."""
    ordered: list[Cell] = []

    def matters(cell: Cell) -> bool:
        if cell.stage in TRAINING and cell.stage != "pretrain":
            return cell.name in trained
        if cell.stage == "pretrain":  # fine-tuned arms start from its weights
            return cell.name in trained or any(ARMS[arm].stage == "finetune" for arm in number.arms if arm in ARMS)
        return (not cell.arch or cell.arch in number.archs) and (not cell.budget or cell.budget == number.budget)

    def visit(cell: Cell) -> None:
        for maker in makers(checkout, cell):
            if maker not in ordered and matters(maker):
                visit(maker)
        if cell not in ordered:
            ordered.append(cell)

    visit(last)
    return ordered


def _step(checkout: Checkout, cell: Cell) -> Step:
    states = {checkout.state(cell, out) for out in cell.outs}
    worst = next((state for state in ("changed", "absent", "present") if state in states), "present")
    return Step(cell.name, cell.cmd, dict(cell.deps), dict(cell.params), dict(cell.outs), worst,
                find_run(checkout.root, cell.key))


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
    return done.stdout.strip() or "not committed yet"


def _run(run: str | None) -> str:
    return run or "not in the local store (`synthplanes track` shows it there)"
