"""Small pieces of long work that a test may kill at any moment; each leaves its result in a folder."""

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from synthplanes import records
from synthplanes.reproduction.checkout import md5
from synthplanes.classification.runs import train_cell
from synthplanes.data.preparation.guards import Policies
from synthplanes.data.packs import write_pack
from synthplanes.data.preparation.preparing import prepare
from synthplanes.diffusion.denoiser import Denoiser, write_denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.diffusion.training import configure, train
from synthplanes.protocol.profiles import Profile
from synthplanes.compute.checkpoints import Scratch
from synthplanes.tracking import store, tracking
from tests import fake_checkout, tiny_generator
from tests.small_profile import small_profile_parameters
from tests.tiny_generator import squares

# Long enough to be killed in, and with everything that a kill must not change.
NETWORK = tiny_generator.PARAMETERS.network.model_copy(update=dict(channels=[32, 32]))
PARAMETERS = tiny_generator.PARAMETERS.model_copy(update=dict(
    network=NETWORK, images_seen=2400, held_out_every_images=320, coarse_share=0.3, early_average_share=0.3,
    patience_images=2000))
SAMPLE = tiny_generator.SAMPLE.model_copy(update=dict(images_per_class=60, steps=6, solver="ancestral"))


def denoiser(scratch: Path, out: Path) -> None:
    found = train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"), threads=2,
                  scratch=Scratch(scratch, "denoiser", seconds_between_states=0.05))
    write_denoiser(out, found.configuration, found.tensors, found.early)
    records.write_table(out / "history.csv", found.history)
    records.write_json(out / "counts.json", [found.training_image_passes, found.forward_image_passes])


def sampling(scratch: Path, out: Path) -> None:
    torch.manual_seed(3)
    network = Denoiser(configure(squares(), PARAMETERS, ("x", "y")))
    index = plan(squares(), ("x", "y"), SAMPLE, "scarce", 0, root_seed=1)
    images, *passes = draw(network, None, index, SAMPLE, torch.device("cpu"),
                           scratch=Scratch(scratch, "sampling"))
    write_pack(out, images, index)
    records.write_json(out / "counts.json", passes)


def pretraining(scratch: Path, out: Path) -> None:
    parameters = small_profile_parameters(archs=("residual",), controls=("null", "poison"))
    parameters["compute"]["processes"] = 1  # workers of a killed process would keep its pipe open for a minute
    parameters["replication"]["seeds"] = 4
    parameters["recipe"] |= dict(stage_1_updates=20, stage_2_updates=6, batch_size=8)
    profile = Profile.model_validate(parameters)
    train_cell("pretrain", profile, "residual", [{"real": squares(), "synthetic": squares(12)}], out,
               scratch=Scratch(scratch, "pretraining"))


class Frames:
    """A source whose frames are drawn when they are asked for: no files to make first."""

    name, classes, patients = "drawn", ("a", "b"), 60

    def __init__(self):
        self.table = records.Table.of_rows(records.SOURCE, (
            dict(image_id=f"p{patient}{label}{number}", file="", patient_id=f"p{patient}", label=label,
                 role="train" if patient % 3 else "test", scanner="xy"[patient % 2], operator="", sub_plane="")
            for patient in range(self.patients) for label in self.classes for number in range(2)))

    def decode(self, row: int) -> np.ndarray:
        return np.random.default_rng(row).integers(0, 256, (240, 320), dtype=np.uint8)

    def missing(self) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


def preparing(scratch: Path, out: Path) -> None:
    counts = prepare(Frames(), 32, Policies(), {"half": 0.5, "all": 1.0}, 0.3, 2, 0, out)
    records.write_json(out / "data.json", counts)


def make_checkout(root: Path) -> None:
    """A finished profile to track: two stages and a few classifiers, no model to register (that alone takes seconds)."""
    root.mkdir(parents=True)
    fake_checkout.make_checkout(root)
    fake_checkout.lock(root, md5)
    content = json.loads((root / "dvc.lock").read_text())
    content["stages"] = {name: entry for name, entry in content["stages"].items()
                         if name.startswith(("prepare@", "joint@", "evaluate@"))}
    (root / "dvc.lock").write_text(json.dumps(content))


def track(scratch: Path, out: Path) -> None:
    """Track the checkout that lies in `scratch`, and write all that its store shows."""
    root = scratch / "checkout"
    os.environ["DVC_ROOT"] = str(root)
    tracking.track()
    records.write_json(out / "shown.json", shown(root))


def shown(root: Path) -> list:
    """Every run of the store under its key, without what MLflow draws or reads from the clock; no run appears twice, for
    then it would stand here twice."""
    folder = root / "artifacts" / "mlflow"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        def of(run: str, query: str) -> list:
            return [list(row) for row in database.execute(query, (run,))]
        runs = []
        for run, name, status in database.execute("SELECT run_uuid, name, status FROM runs").fetchall():
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


JOBS = {"denoiser": denoiser, "sampling": sampling, "pretraining": pretraining, "preparing": preparing, "track": track}


def run(name: str, scratch: Path, out: Path) -> None:
    """One job, with one thread: what a killed process left in `out` is deleted first, as DVC does."""
    import shutil
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    JOBS[name](scratch, out)
