"""Which runs the store should hold: one per cell of dvc.lock, and one per trained classifier.

Pure reading; what a run shows is decided here, how it gets into the store is `store`'s business.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.protocol.arms import ARMS, uses_synthetic
from synthplanes.protocol.counted_work import COST_FILE, read_cost, total
from synthplanes.reproduction.checkout import Cell, Checkout, digest
from synthplanes.reproduction.provenance import Commits, generator_of, outputs_of, read_commits, script_of

CURVE_POINTS = 200  # of one curve at most: a screen shows no more, and every point costs time in the database
_NAME_LIMIT = 243  # characters; MLflow takes 250, and a digest adds 7
# Files of a cell's outs that are worth a look in the browser.
_NUMBERS_IN = ("audit.json", "cost.json", "data.json", "verdict.json")
_SHOWN = (".md", ".png", ".json", "scores.csv")


@dataclass
class Run:
    """One run as the store should show it."""

    key: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # name -> (step, value)
    inputs: dict[str, str] = field(default_factory=dict)  # path of a data set -> DVC's md5
    files: dict[Path, str] = field(default_factory=dict)  # file -> its folder among the run's artifacts
    origin: dict[str, str] = field(default_factory=dict)  # tags: the commits that the run is known from

    @property
    def content(self) -> str:
        """A hash of what is shown: when a file was pulled later, the run is written again.

        Without `origin`: the same cell at another commit is the same run.
        """
        return digest([self.tags, self.params, self.metrics, self.curves, self.inputs,
                       sorted((folder, path.name) for path, folder in self.files.items())])


@dataclass
class Projection:
    runs: list[Run]
    left_out: list[str]  # one sentence per out of dvc.lock that could not be shown


def project(checkout: Checkout) -> Projection:
    """All runs of the current dvc.lock, with whatever of their files is present and unchanged."""
    runs, left_out, commits = [], [], read_commits(checkout.root)
    for cell in checkout.cells.values():
        for out in cell.outs:
            state = checkout.state(cell, out)
            if state == "absent":
                left_out.append(f"{cell.name}: {out} is absent (`dvc pull` or `dvc repro` brings it)")
            elif state == "changed":
                left_out.append(f"{cell.name}: {out} is not what dvc.lock says (`dvc checkout` or `dvc repro` "
                                "mends it)")
        runs.append(_cell_run(checkout, cell, commits))
        if cell.stage == "evaluate":
            runs += _classifier_runs(checkout, cell, commits)
    return Projection(runs, left_out)


def _cell_run(checkout: Checkout, cell: Cell, commits: Commits) -> Run:
    tags = {"kind": "stage", "cmd": cell.cmd, **_place(cell), **script_of(cell), **outputs_of(cell),
            **generator_of(checkout, cell)}
    run = Run(key=cell.key, name=cell.name, tags=tags, params=_params(cell), metrics={}, inputs=_inputs(cell),
              origin=commits.tags(cell))
    for path in _files(checkout, cell):
        relative = path.relative_to(checkout.root).as_posix()
        if path.name == COST_FILE and relative.startswith("artifacts/"):
            work = total(work for _, _, work in read_cost(path.parent))
            run.metrics.update({name: float(value) for name, value in work.as_dict().items()})
        elif path.name in _NUMBERS_IN:
            run.metrics.update(_numbers(records.read_json(path)))
        if path.name == "verdict.json":
            run.tags["verdict"] = records.read_json(path)["overall"]["verdict"]
        if path.name == "history.csv" and cell.stage == "train_diffusion":
            table = records.read_table(path, records.GENERATOR_HISTORY)
            for column in ("train_loss", "held_out_loss"):
                run.curves[f"{column}_{path.parent.name}"] = thinned(table["images_seen"], table[column])
        if path.name.endswith(_SHOWN):
            run.files[path] = Path(relative).parent.as_posix()
    return run


def _classifier_runs(checkout: Checkout, evaluate: Cell, commits: Commits) -> Iterator[Run]:
    """One run per arm, architecture, budget, replicate and seed of scores.csv."""
    scores = next((out for out in evaluate.outs if out.endswith("scores.csv")), None)
    path = scores and checkout.out(evaluate, scores)
    if not path:
        return
    metrics: dict[tuple, dict[str, float]] = {}
    for row in records.read_table(path, records.SCORES).rows():
        identity = (row["arm"], row["arch"], row["budget"], row["replicate"], row["seed"])
        metrics.setdefault(identity, {})[metric_name(row["metric"])] = row["value"]
    curves = cache(lambda name, replicate: _loss_curves(checkout, checkout.cells[name], replicate))
    for (arm, arch, budget, replicate, seed), values in sorted(metrics.items()):
        cell = trained_by(checkout, evaluate.profile, arm, arch, budget)
        if cell is None:
            continue
        yield Run(
            key=classifier_key(cell, evaluate, arm, arch, budget, replicate, seed),
            name=f"{arm} s{seed} r{replicate} {arch} {budget} {evaluate.profile}",  # lists show the beginning only
            tags={"kind": "classifier", **_place(cell), "arm": arm, "seed": str(seed), "replicate": str(replicate),
                  "cell_key": cell.key, **script_of(cell), **outputs_of(cell, evaluate),
                  **(generator_of(checkout, cell) if uses_synthetic(arm) else {}),
                  "mlflow.note.content": f"{ARMS[arm].question} ({ARMS[arm].length} updates)"},
            params=_params(cell), metrics=values, inputs=_inputs(cell), origin=commits.tags(cell, evaluate),
            curves=curves(cell.name, replicate).get((arm, seed), {}))


def classifier_key(cell: Cell, evaluate: Cell, arm: str, arch: str, budget: str, replicate: int, seed: int) -> str:
    """The key of a classifier's run: of the cell that trained it and of the one that scored it."""
    return digest([cell.key, evaluate.key, arm, arch, budget, replicate, seed])


def trained_by(checkout: Checkout, profile: str, arm: str, arch: str, budget: str) -> Cell | None:
    """The cell of dvc.lock that trained an arm."""
    return checkout.of(ARMS[arm].stage, profile, budget, arch) if arm in ARMS else None


def _loss_curves(checkout: Checkout, cell: Cell, replicate: int) -> dict[tuple[str, int], dict]:
    """(arm, seed) -> the training loss of each stage against its updates."""
    path = next((path for path in _files(checkout, cell) if path.parts[-2:] == (f"r{replicate}", "history.csv")), None)
    if path is None:
        return {}
    table = records.read_table(path, records.CLASSIFIER_HISTORY)
    curves: dict[tuple[str, int], dict] = {}
    for arm, seed, stage in sorted(set(zip(*(table[name].tolist() for name in ("arm", "seed", "stage"))))):
        rows = table.select((table["arm"] == arm) & (table["seed"] == seed) & (table["stage"] == stage))
        curves.setdefault((arm, seed), {})[f"train_loss_stage_{stage}"] = thinned(rows["update"], rows["train_loss"])
    return curves


def thinned(steps: np.ndarray, values: np.ndarray) -> list[tuple[int, float]]:
    """At most CURVE_POINTS evenly chosen points, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), CURVE_POINTS)).round().astype(int))
    return list(zip(steps[chosen].tolist(), values[chosen].tolist()))


def metric_name(name: str) -> str:
    """What MLflow takes: its letters, no path that leads elsewhere, 250 characters. All else becomes `_` or is cut off,
    and a digest of the whole keeps such names apart."""
    plain = re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)
    if posixpath.normpath(plain) != plain or plain.startswith((".", "/")):
        plain = re.sub(r"/|^\.+", "_", plain)
    plain = plain[:_NAME_LIMIT]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _files(checkout: Checkout, cell: Cell) -> Iterator[Path]:
    """The files of a cell's outs that are present and unchanged, in order."""
    for out in sorted(cell.outs):
        path = checkout.out(cell, out)
        if path is not None:
            yield from sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)


def _place(cell: Cell) -> dict[str, str]:
    place = {"stage": cell.stage, "profile": cell.profile, "budget": cell.budget, "arch": cell.arch}
    return {name: value for name, value in place.items() if value}


def _params(cell: Cell) -> dict[str, str]:
    prefix = f"profiles.{cell.profile}."
    return {metric_name(name.removeprefix(prefix)): str(value) for name, value in cell.params.items()}


def _inputs(cell: Cell) -> dict[str, str]:
    return {path: md5 for path, md5 in cell.deps.items()
            if path.startswith("artifacts/") and not path.startswith("artifacts/code/")}


def _numbers(content, prefix: str = "") -> dict[str, float]:
    """The numbers in nested mappings, by their dotted names; lists hold records, which are shown as files."""
    found = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        name = metric_name(f"{prefix}{key}")
        if isinstance(value, dict):
            found.update(_numbers(value, f"{name}."))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return found
