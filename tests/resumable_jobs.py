"""Stages of a tiny profile that a test may kill at any moment, and the tracking of a finished checkout."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from synthplanes import records
from synthplanes.classification.runs import train_classifiers
from synthplanes.compute import checkpoints
from synthplanes.compute.torchvision_operators import declare_missing
from synthplanes.data.preparation.preparing import prepare
from synthplanes.diffusion.generators import draw_synthetic_sets, train_generators, train_guides
from synthplanes.diffusion.parts import ALONE
from synthplanes.protocol.cells import Cell, Paths
from synthplanes.protocol.profiles import Profile
from tests import fake_checkout
from tests.tiny_cells import cell, tiny_profile, write_prepared

declare_missing()
import timm  # noqa: E402, F401  (imported here, it need not be imported in every forked process)
from diffusers import UNet2DModel  # noqa: E402, F401


def resumable_profile() -> Profile:
    """A tiny profile with everything that a kill must not change: both averages, patience, a noisy solver."""
    profile = tiny_profile(optional=("distilled", "resampled"))
    diffusion = profile.train_diffusion.model_copy(update=dict(
        images_seen=96, held_out_every_images=32, early_average_fraction=0.3, patience_images=90))
    return profile.model_copy(update=dict(
        train_diffusion=diffusion, compute=profile.compute.model_copy(update=dict(threads=2)),
        replication=profile.replication.model_copy(update=dict(seeds=1)),
        sample=profile.sample.model_copy(update=dict(images_per_class=5, batch_size=4, solver="ancestral"))))


PROFILE = resumable_profile()  # forked processes need not read params.yaml again


class Frames:
    """A source whose frames are drawn when they are asked for: no files to make first."""

    name, classes, patients = "drawn", ("a", "b"), 30

    def __init__(self):
        self.table = records.SOURCE.frame(
            dict(image_id=f"p{patient}{label}{number}", file="", patient_id=f"p{patient}", label=label,
                 role="train" if patient % 3 else "test", scanner="xy"[patient % 2], operator="", sub_plane="")
            for patient in range(self.patients) for label in self.classes for number in range(2))

    def decode(self, row: int) -> np.ndarray:
        return np.random.default_rng(row).integers(0, 256, (48, 64), dtype=np.uint8)

    def missing(self) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


def prepared(own: Cell) -> None:
    """What the stage `prepare` does with `Frames`."""
    counts = prepare(Frames(), PROFILE, own.out)
    records.write_json(own.paths.metrics / "data.json", counts)


STAGES = {
    "prepare": prepared,
    "train_diffusion": lambda own: train_generators(own, ALONE),
    "train_guide": train_guides,
    "sample": lambda own: draw_synthetic_sets(own, ALONE),
    "baseline": train_classifiers,
    "pretrain": train_classifiers,
    "finetune": train_classifiers,
}


def make_inputs(root: Path) -> None:
    """Write what the STAGES read: the outputs of each are made by those before it."""
    torch.set_num_threads(1)
    write_prepared(root)
    for stage, job in STAGES.items():
        if stage != "prepare":
            job(cell(root, stage, PROFILE))
    shutil.rmtree(Paths("tiny", root).artifact("checkpoints"))


def make_checkout(root: Path) -> None:
    """Write a finished profile to track: two stages and a few classifiers, no model to register (it takes seconds)."""
    root.mkdir(parents=True)
    fake_checkout.make_checkout(root)
    from synthplanes.reproduction.checkout import md5
    fake_checkout.lock(root, md5)
    content = json.loads((root / "dvc.lock").read_text())
    content["stages"] = {name: entry for name, entry in content["stages"].items()
                         if name.startswith(("prepare@", "joint@", "evaluate@"))}
    (root / "dvc.lock").write_text(json.dumps(content))


def track(root: Path) -> None:
    """Track the checkout in `root`, and write all that its store shows beside it."""
    from synthplanes.tracking import store
    os.environ["DVC_ROOT"] = str(root)
    store.track()
    records.write_json(root.with_name("shown.json"), shown(root))


def shown(root: Path) -> list:
    """List every run of the store under its key, without what MLflow draws at random or reads from the clock.

    A run that is in the store twice stands here twice.
    """
    from synthplanes.tracking import store
    folder = root / "artifacts" / "mlflow"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        def of(run: str, query: str) -> list:
            return [list(row) for row in database.execute(query, (run,))]
        runs = []
        for run, name, status in database.execute("SELECT run_uuid, name, status FROM runs "
                                                  "WHERE lifecycle_stage = 'active'").fetchall():
            tags = {key: value for key, value in of(run, "SELECT key, value FROM tags WHERE run_uuid = ?")
                    if not key.startswith("mlflow.") and key not in ("tracked_at", "git_revision", "dirty")}
            files = {path.relative_to(folder / "files" / run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                     for path in (folder / "files" / run).rglob("*") if path.is_file()}
            inputs = of(run, "SELECT name, digest FROM datasets JOIN inputs ON source_id = dataset_uuid "
                             "WHERE destination_id = ? ORDER BY name")
            runs.append([tags.get(store.KEY, ""), name, status, tags, inputs, files,
                         of(run, "SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key"),
                         of(run, "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY key, step")])
    return sorted(runs, key=lambda run: run[:2])


def run_stage(stage: str, root: Path, kill_at: int | None = None) -> None:
    """Run a stage below `root` as DVC does, its old output deleted first; a state is kept after every step.

    The process is killed just before its change number `kill_at` of a file or folder below `root`; without it the
    number of changes is written to `root`/changes. A file that is written under another name and moved changes once.
    """
    torch.set_num_threads(1)
    checkpoints.SECONDS_BETWEEN_STATES = 0.0
    own = cell(root, stage, PROFILE)
    shutil.rmtree(own.out, ignore_errors=True)
    changes = _count_changes(root, kill_at)
    STAGES[stage](own)
    if kill_at is None:
        (root / "changes").write_text(str(changes[0]))


EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")  # Python's audit events that may change a disk


def _count_changes(root: Path, kill_at: int | None) -> list[int]:
    """Count, from now on, in the first place of the returned list; Python's audit events come before what they tell."""
    count = [0]

    def hook(event: str, arguments: tuple) -> None:
        if event in EVENTS and _changes(event, arguments, str(root)):
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    sys.addaudithook(hook)
    return count


def _changes(event: str, arguments: tuple, root: str) -> bool:
    path = arguments[0]
    if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(root):
        return False
    if event == "open":
        mode, flags = arguments[1:]
        writes = bool(set(mode) & set("wxa+")) if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))
        return writes and not os.fspath(path).endswith(".part")
    return os.path.exists(path) != (event == "os.mkdir")  # attempts on what is there or absent already change nothing
