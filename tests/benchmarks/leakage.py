"""How much a random split of images flatters: the same nets, judged on images of patients they know and do not know.

    python tests/benchmarks/leakage.py [--profile phantom] [--root-seed 1] [--splits 6] [--seeds 2]

Frames of one patient resemble each other. Who splits images at random, as if each were a patient of its own, tests on
the patients of training. Here the images of one budget (training and validation together) are divided twice, by patient
as the protocol does and by image, with the same number of images of every class on either side; the arm `real` of the
first control architecture learns from each, and tells its balanced accuracy on the side held out and on the test patients of
the population, whom neither division has seen. The population has a root seed of its own, so that the profile's test
rows stay unopened; each division is another replicate, with patients of its own. Writes `leakage` into
metrics/benchmarks.json: about 7 minutes on two CPU cores.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from measured import keep
from phantom_yardsticks import population, train_all

from synthplanes import seeds as randomness
from synthplanes.classification.prediction import Trained, predict
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
    arguments = parser.parse_args()
    profile, root = read_profile(arguments.profile), arguments.root_seed
    arch, budget = profile.recipe.control_archs[0], next(iter(profile.used_budgets()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        population(profile, root, folder / "population", replicates=arguments.splits)
        classes = read_classes(folder / "population")
        test = read_all(folder / "population" / "test", classes)
        divided = {}
        for number in range(arguments.splits):
            sides = [read_budget(folder / "population", budget, number, role) for role in ("train", "validation")]
            draw = randomness.generator(root, "random image split", number)
            divided |= {("patient", number): sides, ("image", number): shuffled(*sides, draw)}
        tasks = [(key, Task(ARMS["real"], seed, key[1], arch, profile.used_archs()[arch], profile.recipe, root,
                            dict(real=sides[0]), None, folder / f"{key[0]}-{key[1]}-{seed}.safetensors"))
                 for key, sides in divided.items() for seed in range(arguments.seeds)]
        train_all([task for _, task in tasks], profile.compute.processes)
        device = prepare_torch(profile.compute.threads)
        found = {"patient": [], "image": []}
        for key, task in tasks:
            one = [Trained("real", task.seed, key[1], task.out)]
            found[key[0]].append([balanced_accuracy(predict(one, task.architecture, len(classes), images.images, device)[0],
                                                    images) for images in (divided[key][1], test)])
    rows = [summary(kind, np.array(scores).reshape(arguments.splits, arguments.seeds, 2)) for kind, scores in found.items()]
    keep("leakage", dict(
        profile=arguments.profile, root_seed=root, arch=arch, splits=arguments.splits, seeds=arguments.seeds, rows=rows,
        updates=updates_of(ARMS["real"], profile.recipe), n_held_out=[len(divided["image", n][1]) for n in range(
            arguments.splits)], n_train=[len(divided["image", n][0]) for n in range(arguments.splits)], n_test=len(test)))
    for row in rows:
        print("split by {split}: {held_out:.3f} on the side held out, {test:.3f} on new patients, flattered by "
              "{flattery:+.3f} (SD over splits {flattery_deviation:.3f})".format(**row))


def shuffled(train: LabelledImages, held_out: LabelledImages, draw: np.random.Generator) -> list[LabelledImages]:
    """Both sides' images divided anew at random, with as many of every class on either side as before."""
    whole = {name: np.concatenate([getattr(train, name), getattr(held_out, name)])
             for name in ("images", "labels", "scanners", "image_ids", "patient_ids")}
    wanted = np.bincount(train.labels, minlength=len(train.classes))
    chosen = np.concatenate([draw.permutation(np.flatnonzero(whole["labels"] == c))[:n] for c, n in enumerate(wanted)])
    mask = np.isin(np.arange(len(whole["labels"])), chosen)
    return [replace(train, **{name: column[side] for name, column in whole.items()}) for side in (mask, ~mask)]


def balanced_accuracy(probabilities: np.ndarray, images: LabelledImages) -> float:
    """Mean recall of the classes that occur."""
    right = probabilities.argmax(axis=1) == images.labels
    return float(np.mean([right[images.labels == c].mean() for c in np.unique(images.labels)]))


def summary(kind: str, scores: np.ndarray) -> dict:
    """`scores` [splits, seeds, (held out, test)] -> means, and the flattery's mean and deviation over splits."""
    flattery = (scores[..., 0] - scores[..., 1]).mean(axis=1)
    return dict(split=kind, held_out=round(float(scores[..., 0].mean()), 4), test=round(float(scores[..., 1].mean()), 4),
                flattery=round(float(flattery.mean()), 4),
                flattery_deviation=round(float(flattery.std(ddof=1)), 4) if len(flattery) > 1 else None)


if __name__ == "__main__":
    run(main)
