"""Measure how much a random split of images flatters: the same networks, tested on known and on unknown patients.

    python tests/benchmarks/leakage.py [--profile phantom] [--root-seed 1] [--splits 6] [--seeds 2]

Frames of one patient resemble each other. Who splits images at random, as if each were a patient of its own, tests on
the patients of training. Here the images of one budget (training and validation together) are divided twice, by patient
as the protocol does and by image, with the same number of images of every class on either side. The profile's first
architecture trains the arm `real` on one side; its balanced accuracy is measured on the side held out, and on the test
patients of the population, of whom neither division has an image. The population has a root seed of its own, so that
the profile's test rows stay unopened, and each division is another replicate, with patients of its own. Writes
`leakage` into artifacts/benchmarks.json: about 7 minutes on two CPU cores.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measured import FILE, keep
from phantom_yardsticks import balanced_accuracy, population, train_all

from synthplanes import seeds as randomness
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.protocol.arms import ARMS, updates_of
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    profile, root, numbers = read_profile(arguments.profile), arguments.root_seed, range(arguments.splits)
    arch, architecture = next(iter(profile.archs.items()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        population(profile, root, folder / "population", replicates=arguments.splits)
        test = read_all(folder / "population" / "test", read_classes(folder / "population"))
        divided: dict[tuple[str, int], list[LabelledImages]] = {}
        for number in numbers:
            sides = [read_budget(folder / "population", profile.scarce_budget, number, role)
                     for role in ("train", "validation")]
            draw = randomness.generator(root, "random image split", number)
            divided |= {("patient", number): sides, ("image", number): shuffled(*sides, draw)}
        tasks = [(key, Task(ARMS["real"], arch, architecture, profile.recipe, key[1], seed, root, dict(real=sides[0]),
                            folder / f"{key[0]}-{key[1]}-{seed}.safetensors"))
                 for key, sides in divided.items() for seed in range(arguments.seeds)]
        train_all([task for _, task in tasks], profile.compute.processes)
        device = prepare_torch(profile.compute.threads)
        scores: dict[str, list[list[float]]] = {"patient": [], "image": []}
        for key, task in tasks:
            scores[key[0]].append([balanced_accuracy(task, images, device) for images in (divided[key][1], test)])
    rows = [summary(kind, np.array(own).reshape(arguments.splits, arguments.seeds, 2)) for kind, own in scores.items()]
    keep("leakage", dict(
        profile=arguments.profile, root_seed=root, arch=arch, splits=arguments.splits, seeds=arguments.seeds, rows=rows,
        updates=updates_of(ARMS["real"], profile.recipe), n_test=len(test),
        n_held_out=[len(divided["image", number][1]) for number in numbers],
        n_train=[len(divided["image", number][0]) for number in numbers]), arguments.out)
    for row in rows:
        print("split by {split}: {held_out:.3f} on the side held out, {test:.3f} on new patients, flattered by "
              "{flattery:+.3f} (SD over splits {flattery_deviation})".format(**row))


def shuffled(train: LabelledImages, held_out: LabelledImages, draw: np.random.Generator) -> list[LabelledImages]:
    """Divide both sides' images anew at random, with as many of every class on either side as before."""
    whole = LabelledImages(*(np.concatenate(columns) for columns in (
        (train.images, held_out.images), (train.labels, held_out.labels), (train.scanners, held_out.scanners),
        (train.image_ids, held_out.image_ids))), train.classes, np.concatenate(
            [train.patient_ids, held_out.patient_ids]))
    wanted = np.bincount(train.labels, minlength=len(train.classes))
    chosen = np.concatenate([draw.permutation(np.flatnonzero(whole.labels == c))[:n] for c, n in enumerate(wanted)])
    mask = np.isin(np.arange(len(whole)), chosen)
    return [whole.select(np.flatnonzero(side)) for side in (mask, ~mask)]


def summary(kind: str, scores: np.ndarray) -> dict[str, Any]:
    """Return the means of `scores` [splits, seeds, (held out, test)], and the flattery's deviation over splits."""
    flattery = (scores[..., 0] - scores[..., 1]).mean(axis=1)
    return dict(split=kind, held_out=round(float(scores[..., 0].mean()), 4),
                test=round(float(scores[..., 1].mean()), 4), flattery=round(float(flattery.mean()), 4),
                flattery_deviation=round(float(flattery.std(ddof=1)), 4) if len(flattery) > 1 else None)


if __name__ == "__main__":
    run(main)
