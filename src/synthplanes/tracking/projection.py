"""Decide which runs the store should hold: one per entry of dvc.lock, and one per trained classifier.

This module reads files and describes runs; `store` writes them to MLflow.
"""

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.protocol.arms import ARMS, uses_synthetic
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.counted_work import COST_FILE, read_cost, total
from synthplanes.reproduction.checkout import Checkout, LockedStage, commit_tagger, flat, inside
from synthplanes.reproduction.lineage import classifier_key

CURVE_POINTS = 200  # of one curve at most: a screen shows no more, and every point costs time in the database
_NAME_LIMIT = 243  # characters; MLflow takes 250, and a hash adds 7
_NUMBERS_IN = ("summary.json", "verdict.json", "data.json", COST_FILE)
_SHOWN = (".md", ".png", ".json")  # and all files under metrics/

Curve = list[tuple[int, float]]  # (step, value) of each point


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
        """Return a hash of all that is shown except `origin`: the same stage at another commit is the same run."""
        files = sorted((folder, path.name) for path, folder in self.files.items())
        return records.sha256([self.tags, self.params, self.metrics, self.curves, self.inputs, files])[:32]


def project(checkout: Checkout) -> tuple[list[Run], list[str]]:
    """Describe all runs of the present dvc.lock, and say in a sentence which of its outputs cannot be shown."""
    tags_of = commit_tagger(checkout.root)
    mends = {"absent": "is absent (`dvc pull` or `dvc repro` brings it)",
             "changed": "is not what dvc.lock records (`dvc checkout` or `dvc repro` mends it)"}
    left_out = [f"{stage.name}: {out} {mends[state]}" for stage in checkout.stages.values() for out in stage.outs
                if (state := checkout.state(stage, out)) in mends]
    runs = {stage.name: _stage_run(checkout, stage, tags_of(stage)) for stage in checkout.stages.values()}
    classifiers = [run for evaluate in checkout.stages.values() if evaluate.stage == "evaluate"
                   for run in _classifier_runs(checkout, evaluate, runs, tags_of)]
    return [*runs.values(), *classifiers], left_out


def _stage_run(checkout: Checkout, stage: LockedStage, origin: dict[str, str]) -> Run:
    script = next((word for word in stage.cmd.split() if word.endswith(".py")), stage.stage)
    generators = sorted({md5 for maker in checkout.ancestors(stage) if maker.stage == "train_diffusion"
                         for path, md5 in maker.outs.items() if inside(path, "artifacts/generator")})
    tags = {"kind": "stage", "cmd": stage.cmd, "stage": stage.stage, "profile": stage.profile,
            "mlflow.source.name": script, "mlflow.source.type": "LOCAL", **_outputs(stage)}
    parameters = flat(checkout.protocol(stage).get("parameters", {}))
    params = {metric_name(name): str(value) for name, value in parameters.items()}
    inputs = {path: md5 for path, md5 in stage.deps.items()
              if inside(path, "artifacts") and not inside(path, "artifacts/protocol")}
    run = Run(stage.key, stage.name, tags | ({"generator": " ".join(generators)} if generators else {}), params,
              inputs=inputs, origin=origin)
    outs = [out for path in sorted(stage.outs) if (out := checkout.out(stage, path))]
    for path in [file for out in outs for file in (out, *sorted(out.rglob("*"))) if file.is_file()]:
        relative = path.relative_to(checkout.root)
        if path.name == COST_FILE and relative.parts[0] == "artifacts":
            run.metrics |= {name: float(value) for name, value in total(read_cost(path.parent)).items()}
        elif path.name in _NUMBERS_IN:
            content = records.read_json(path)
            run.metrics |= {metric_name(name): float(value) for name, value in flat(content).items()
                            if isinstance(value, int | float) and not isinstance(value, bool)}
            if path.name == "verdict.json":
                run.tags |= {"verdict": content["overall"]["verdict"]} | {
                    f"verdict_{name}": judged["verdict"] for name, judged in content["hypotheses"].items()}
        elif path.name == "audit.csv":
            audit = records.read_table(path, records.AUDIT)
            for row in audit[audit["label"] == "all"].itertuples():
                run.metrics[f"label_fidelity_{row.budget}_{row.replicate}"] = row.label_fidelity
        elif path.name == "generator_curve.csv":
            for identity, rows in records.read_table(path, records.GENERATOR_CURVE).groupby(["budget", "replicate"]):
                for name in ("train_loss", "held_out_loss", "label_fidelity", "copies"):
                    run.curves["{}_{}_r{}".format(name, *identity)] = thinned(
                        rows.set_index("images_seen")[name].dropna())
        if path.suffix in _SHOWN or relative.parts[0] == "metrics":
            run.files[path] = relative.parent.as_posix()
    return run


def _classifier_runs(checkout: Checkout, evaluate: LockedStage, stage_runs: dict[str, Run],
                     tags_of: Callable[..., dict[str, str]]) -> Iterator[Run]:
    """Describe one run per arm, architecture, budget, replicate and seed of scores.csv."""
    path = checkout.out(evaluate, Paths(evaluate.profile).metrics / "scores.csv")
    if path is None:
        return
    histories = cache(lambda *place: _history(checkout, evaluate.profile, *place))
    for (arm, arch, budget, replicate, seed), rows in records.read_table(path, records.SCORES).groupby(
            list(records.RUNS.columns)):
        stage = checkout.of(ARMS[arm].stage, evaluate.profile) if arm in ARMS else None
        if stage is None:
            continue  # of another protocol
        trained, history = stage_runs[stage.name], histories(stage.stage, budget, arch, replicate)
        shared = ("stage", "profile", "mlflow.source.name", "mlflow.source.type",
                  *(["generator"] if uses_synthetic(arm) else []))
        yield Run(
            key=classifier_key(stage, evaluate, (arm, arch, budget, int(replicate), int(seed))),
            name=f"{arm} s{seed} r{replicate} {arch} {budget} {evaluate.profile}",  # lists show only the beginning
            tags={**{name: trained.tags[name] for name in shared if name in trained.tags}, "kind": "classifier",
                  "arm": arm, "arch": arch, "budget": budget, "replicate": str(replicate), "seed": str(seed),
                  "stage_key": stage.key, **_outputs(stage, evaluate),
                  "mlflow.note.content": f"{ARMS[arm].question} ({ARMS[arm].updates} updates)"},
            params=trained.params, inputs=trained.inputs, origin=tags_of(stage, evaluate),
            metrics=dict(zip(map(metric_name, rows["metric"]), rows["value"].tolist(), strict=True)),
            curves={f"train_loss_stage_{part}": thinned(losses.set_index("update")["train_loss"]) for part, losses
                    in history[(history["arm"] == arm) & (history["seed"] == seed)].groupby("stage")})


def _history(checkout: Checkout, profile: str, stage: str, budget: str, arch: str, replicate: int) -> pd.DataFrame:
    """Read the training losses of one replicate; empty where the stage's output is absent or changed."""
    trained = checkout.stages[f"{stage}@{profile}"]
    path = checkout.out(trained, Paths(profile).classifiers(stage, budget, arch) / f"r{replicate}" / "history.csv")
    schema = records.CLASSIFIER_HISTORY
    return schema.frame([]) if path is None else records.read_table(path, schema)


def thinned(values: pd.Series) -> Curve:
    """Return at most CURVE_POINTS evenly chosen values by their step (the index), the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), CURVE_POINTS)).round().astype(int))
    return list(values.iloc[chosen].items())


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: its letters, no path that leads elsewhere, 250 characters.

    Other characters become `_`, longer names are cut off, and a hash of the whole keeps such names distinct.
    """
    plain = re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)
    if posixpath.normpath(plain) != plain or plain.startswith((".", "/")):
        plain = re.sub(r"/|^\.+", "_", plain)
    plain = plain[:_NAME_LIMIT]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _outputs(*stages: LockedStage) -> dict[str, str]:
    """Return the tag `dvc_outputs`, by which a search for an md5 finds the run that wrote it."""
    return {"dvc_outputs": "\n".join(f"{md5} {path}" for stage in stages for path, md5 in sorted(stage.outs.items()))}
