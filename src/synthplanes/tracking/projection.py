"""Decide which runs the store should hold: one per entry of dvc.lock, and one per trained classifier.

This module reads files and describes runs; `store` writes them to MLflow.
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
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.counted_work import COST_FILE, read_cost, total
from synthplanes.reproduction.checkout import Checkout, LockedStage, flat, inside
from synthplanes.reproduction.lineage import classifier_key
from synthplanes.reproduction.provenance import Commits, read_commits

CURVE_POINTS = 200  # of one curve at most: a screen shows no more, and every point costs time in the database
_NAME_LIMIT = 243  # characters; MLflow takes 250, and a hash adds 7
_NUMBERS_IN = ("summary.json", "verdict.json", "data.json", COST_FILE)
_SHOWN = (".md", ".png", ".json")  # and all files under metrics/

Curve = list[tuple[int, float]]
"""(step, value) of each point."""


@dataclass
class Run:
    """One run as the store should show it."""

    key: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)  # path of a data set -> DVC's md5
    files: dict[Path, str] = field(default_factory=dict)  # file -> its folder among the run's artifacts
    origin: dict[str, str] = field(default_factory=dict)  # tags: the commits that have the run

    @property
    def content(self) -> str:
        """Return a hash of all that is shown; it changes when a file is pulled.

        `origin` is left out: the same stage at another commit is the same run.
        """
        files = sorted((folder, path.name) for path, folder in self.files.items())
        return records.sha256([self.tags, self.params, self.metrics, self.curves, self.inputs, files])[:32]


@dataclass
class Projection:
    """All runs of a checkout."""

    runs: list[Run]
    left_out: list[str]  # one sentence per output of dvc.lock that cannot be shown


def project(checkout: Checkout) -> Projection:
    """Describe all runs of the present dvc.lock, with those of their files that are present and unchanged."""
    runs, left_out, commits = [], [], read_commits(checkout.root)
    mends = {"absent": "is absent (`dvc pull` or `dvc repro` brings it)",
             "changed": "is not what dvc.lock records (`dvc checkout` or `dvc repro` mends it)"}
    for stage in checkout.stages.values():
        left_out += [f"{stage.name}: {out} {mends[state]}" for out in stage.outs
                     if (state := checkout.state(stage, out)) != "present"]
        runs.append(_stage_run(checkout, stage, commits))
        if stage.stage == "evaluate":
            runs += _classifier_runs(checkout, stage, commits)
    return Projection(runs, left_out)


def _stage_run(checkout: Checkout, stage: LockedStage, commits: Commits) -> Run:
    run = Run(stage.key, stage.name, {"kind": "stage", "cmd": stage.cmd, **_tags(checkout, stage)},
              _params(checkout, stage), inputs=_inputs(stage), origin=commits.tags(stage))
    for path in _files(checkout, stage):
        relative = path.relative_to(checkout.root)
        if path.name == COST_FILE and relative.parts[0] == "artifacts":
            run.metrics |= {name: float(value) for name, value in total(read_cost(path.parent)).items()}
        elif path.name in _NUMBERS_IN:
            content = records.read_json(path)
            run.metrics |= {metric_name(name): float(value) for name, value in flat(content).items()
                            if isinstance(value, int | float) and not isinstance(value, bool)}
            if path.name == "verdict.json":
                run.tags["verdict"] = content["overall"]["verdict"]
        elif path.name == "audit.csv":
            audit = records.read_table(path, records.AUDIT)
            for row in audit[audit["label"] == "all"].itertuples():
                run.metrics[f"label_fidelity_{row.budget}_{row.replicate}"] = row.label_fidelity
        elif path.name == "generator_curve.csv":
            for identity, rows in records.read_table(path, records.GENERATOR_CURVE).groupby(["budget", "replicate"]):
                for loss in ("train_loss", "held_out_loss"):
                    run.curves["{}_{}_r{}".format(loss, *identity)] = thinned(
                        rows["images_seen"].to_numpy(), rows[loss].to_numpy())
        if path.suffix in _SHOWN or relative.parts[0] == "metrics":
            run.files[path] = relative.parent.as_posix()
    return run


def _classifier_runs(checkout: Checkout, evaluate: LockedStage, commits: Commits) -> Iterator[Run]:
    """Describe one run per arm, architecture, budget, replicate and seed of scores.csv."""
    path = checkout.out(evaluate, Paths(evaluate.profile).metrics / "scores.csv")
    if path is None:
        return
    curves = cache(lambda stage, *place: _loss_curves(checkout, checkout.stages[stage], *place))
    stage_parts = cache(lambda name: (_params(checkout, checkout.stages[name]), _tags(checkout, checkout.stages[name])))
    for run, rows in records.read_table(path, records.SCORES).groupby(list(records.RUNS.columns)):
        arm, arch, budget, replicate, seed = run
        stage = checkout.of(ARMS[arm].stage, evaluate.profile) if arm in ARMS else None
        if stage is None:
            continue  # of another protocol
        params, tags = stage_parts(stage.name)
        yield Run(
            key=classifier_key(stage, evaluate, (arm, arch, budget, int(replicate), int(seed))),
            name=f"{arm} s{seed} r{replicate} {arch} {budget} {evaluate.profile}",  # lists show only the beginning
            tags={**{name: value for name, value in tags.items() if name != "generator" or uses_synthetic(arm)},
                  "kind": "classifier", "arm": arm, "arch": arch, "budget": budget, "replicate": str(replicate),
                  "seed": str(seed), "stage_key": stage.key, **_outputs(stage, evaluate),
                  "mlflow.note.content": f"{ARMS[arm].question} ({ARMS[arm].updates} updates)"},
            params=params, metrics=dict(zip(map(metric_name, rows["metric"]), rows["value"].tolist(), strict=True)),
            curves=curves(stage.name, budget, arch, replicate).get((arm, seed), {}),
            inputs=_inputs(stage), origin=commits.tags(stage, evaluate))


def _loss_curves(checkout: Checkout, stage: LockedStage, budget: str, arch: str, replicate: int
                 ) -> dict[tuple[str, int], dict[str, Curve]]:
    """Return by (arm, seed) the training loss of each stage of a training against its updates."""
    folder = Paths(stage.profile).classifiers(stage.stage, budget, arch)
    path = checkout.out(stage, folder / f"r{replicate}" / "history.csv")
    if path is None:
        return {}
    curves: dict[tuple[str, int], dict[str, Curve]] = {}
    history = records.read_table(path, records.CLASSIFIER_HISTORY)
    for (arm, seed, part), rows in history.groupby(["arm", "seed", "stage"]):
        curves.setdefault((arm, seed), {})[f"train_loss_stage_{part}"] = thinned(
            rows["update"].to_numpy(), rows["train_loss"].to_numpy())
    return curves


def thinned(steps: np.ndarray, values: np.ndarray) -> Curve:
    """Return at most CURVE_POINTS evenly chosen points, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), CURVE_POINTS)).round().astype(int))
    return list(zip(steps[chosen].tolist(), values[chosen].tolist(), strict=True))


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: its letters, no path that leads elsewhere, 250 characters.

    Other characters become `_`, longer names are cut off, and a hash of the whole keeps such names distinct.
    """
    plain = re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)
    if posixpath.normpath(plain) != plain or plain.startswith((".", "/")):
        plain = re.sub(r"/|^\.+", "_", plain)
    plain = plain[:_NAME_LIMIT]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _files(checkout: Checkout, stage: LockedStage) -> Iterator[Path]:
    """Yield the files of a stage's outputs that are present and unchanged, in order."""
    for out in sorted(stage.outs):
        path = checkout.out(stage, out)
        if path is not None:
            yield from sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)


def _tags(checkout: Checkout, stage: LockedStage) -> dict[str, str]:
    """Return the tags of a stage: its place, its script, its outputs, and the md5 of the generator it depends on."""
    script = next((word for word in stage.cmd.split() if word.endswith(".py")), stage.stage)
    generators = sorted({md5 for maker in checkout.ancestors(stage) if maker.stage == "train_diffusion"
                         for path, md5 in maker.outs.items() if inside(path, "artifacts/generator")})
    return {"stage": stage.stage, "profile": stage.profile, "mlflow.source.name": script, "mlflow.source.type": "LOCAL",
            **_outputs(stage), **({"generator": " ".join(generators)} if generators else {})}


def _outputs(*stages: LockedStage) -> dict[str, str]:
    """Return the tag `dvc_outputs`, by which a search for an md5 finds the run that wrote it."""
    return {"dvc_outputs": "\n".join(f"{md5} {path}" for stage in stages for path, md5 in sorted(stage.outs.items()))}


def _params(checkout: Checkout, stage: LockedStage) -> dict[str, str]:
    return {metric_name(name): str(value) for name, value in checkout.parameters(stage).items()}


def _inputs(stage: LockedStage) -> dict[str, str]:
    return {path: md5 for path, md5 in stage.deps.items()
            if inside(path, "artifacts") and not inside(path, "artifacts/protocol")}
