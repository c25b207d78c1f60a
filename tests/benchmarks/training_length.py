"""Measure how many updates `real` needs: its accuracy on validation images over the length of training.

    python tests/benchmarks/training_length.py [--profile african_cv] [--times 1 2 4] [--root-seed 1] [--seeds 2]
        [--processes N]

The convergence check says after a run whether its updates were enough; this says so before one. For every length in
`--times` both stages' updates of the profile are multiplied by it, and the arm `real` is trained by the profile's
recipe with every architecture on the training images of every replicate, with classifier seeds of a root seed of its
own. A row has the mean balanced accuracy on the replicates' validation images, and what the next length gains over it,
paired, with its standard error over all runs (which takes the seeds of a replicate for independent). Test images play
no part. It needs the profile's `prepare`. Writes `training_length`, a key per profile and root seed, into
artifacts/benchmarks.json. The defaults train 10 networks of `african_cv` for each length, 218,400 updates in all.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measured import FILE, keep
from phantom_yardsticks import balanced_accuracy, longer, train_all

from synthplanes import records
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import read_budget
from synthplanes.protocol.arms import ARMS, updates_of
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import read_profile

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="african_cv")
    parser.add_argument("--times", type=float, nargs="+", default=(1.0, 2.0, 4.0), help="multiples of the updates")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, help="trained in parallel, in place of the profile's number")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    profile, times = read_profile(arguments.profile), sorted(arguments.times)
    prepared = Paths(arguments.profile, ROOT).prepared
    recipes = {length: profile.recipe.model_copy(update=longer(profile, length)) for length in times}
    sides = [{role: read_budget(prepared, profile.scarce_budget, replicate, role) for role in ("train", "validation")}
             for replicate in range(profile.replication.generators)]
    with tempfile.TemporaryDirectory() as scratch:
        tasks = {(length, arch, replicate, seed): Task(
                    ARMS["real"], arch, architecture, recipes[length], replicate, seed, arguments.root_seed,
                    dict(real=sides[replicate]["train"]),
                    Path(scratch) / f"{length}-{arch}-{replicate}-{seed}.safetensors")
                 for length in reversed(times) for arch, architecture in profile.archs.items()
                 for replicate in range(len(sides)) for seed in range(arguments.seeds)}
        train_all(list(tasks.values()), arguments.processes or profile.compute.processes)
        device = prepare_torch(profile.compute.threads)
        scores = {key: balanced_accuracy(task, sides[task.replicate]["validation"], device)
                  for key, task in tasks.items()}
    rows = []
    for arch in profile.archs:
        at = [np.array([score for key, score in sorted(scores.items()) if key[:2] == (length, arch)])
              for length in times]
        rows += [row(arch, updates_of(ARMS["real"], recipes[length]), own, following)
                 for length, own, following in zip(times, at, [*at[1:], None])]
    key = f"{arguments.profile}, root seed {arguments.root_seed}"
    before = records.read_json(arguments.out).get("training_length", {}) if arguments.out.exists() else {}
    keep("training_length", {**{name: value for name, value in before.items() if name != "machine"}, key: dict(
        seeds=arguments.seeds, replicates=len(sides), recipe=profile.recipe.model_dump(), rows=rows, n_validation=len(
            {name for side in sides for name in side["validation"].image_ids.tolist()}))}, arguments.out)
    for entry in rows:
        print(entry)


def row(arch: str, updates: int, scores: np.ndarray, following: np.ndarray | None) -> dict[str, Any]:
    """Describe one length by its `scores` [runs], and those of the same runs at the next length (None: the last)."""
    entry = dict(arch=arch, updates=updates, validation=round(float(scores.mean()), 4), n=len(scores), next_gains=None,
                 standard_error=None)
    if following is not None:
        gains = following - scores
        entry["next_gains"] = round(float(gains.mean()), 4)
        if len(gains) > 1:
            entry["standard_error"] = round(float(gains.std(ddof=1) / np.sqrt(len(gains))), 4)
    return entry


if __name__ == "__main__":
    run(main)
