"""Measure what the phantom can tell without any generator: how well classifiers do on it, and how frames resemble.

    python tests/benchmarks/phantom_yardsticks.py [--profile phantom] [--root-seed 1] [--seeds 3] [--parts PART ...]
        [--archs ROLE ...]

It simulates a population of its own root seed, so the profile's test rows stay unopened, takes the profile's
scarce budget from it, and trains, with the profile's recipe, in three parts:

- convergence: `real` at a half, once and twice the recipe's updates: where each architecture converges; `oracle` at
  once its updates, on the first architecture also at three times: what as many fresh patients' images as the synthetic
  set has would bring within the recipe, and when they have converged, for which 2,400 images need longer than 300;
- recipe: on the first architecture, with two seeds at most: `oracle_then_real` and `real_two_stage` at three peaks
  of stage 2, two of them also while half of each batch rehearses stage 1's images, `real` at other weight decays: what
  the recipe's values do; `real` and `oracle` on the hard phantom;
- very_large: a very large set of fresh patients, at four times the updates and twice the batch, by the audit's label
  classifier at the usual decay: what keeps a net on few images from learning them by heart limits it on many.

Scores are the mean recalls on the population's own test patients. Writes metrics/phantom_yardsticks.json, each part
beside the recipe that it was run with: about 30 minutes on two CPU cores, two thirds of them for the first part.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image_statistics import NAMES, image_statistics, intraclass_correlation

from synthplanes import records
from synthplanes.classification.networks import probabilities, read_classifier
from synthplanes.classification.runs import Task, train_one
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.compute.parallel import run_parallel
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.data.sources.opening import Simulated
from synthplanes.phantom.simulation import VERSION, simulate
from synthplanes.progress import Progress
from synthplanes.protocol.arms import ARMS, updates_of
from synthplanes.protocol.profiles import Profile, read_profile
from synthplanes.statistics.scores import balanced_accuracy_of

VERY_LARGE = 20_000  # images
USUAL_DECAY = 0.05   # of AdamW in timm's recipes
PARTS = ("convergence", "recipe", "very_large")
OUTPUT = Path(__file__).resolve().parents[2] / "metrics" / "phantom_yardsticks.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="the others stay as they are on file")
    parser.add_argument("--archs", nargs="+", help="roles of the part convergence (default: all)")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile, root = read_profile(arguments.profile), arguments.root_seed
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        resemblance = population(profile, root, folder / "default")
        population(profile, root, folder / "hard", difficulty="hard")
        classes = read_classes(folder / "default")
        worlds = {name: world(profile, folder / name, classes) for name in ("default", "hard")}
        if "very_large" in arguments.parts:
            worlds["very large"] = dict(worlds["default"], real=very_large_set(profile, root, classes))
        plans = {f"convergence {arch}": partial(convergence, arch) for arch in arguments.archs or profile.archs}
        plans |= {"recipe": recipe, "very_large": very_large}
        setting = Setting(profile, worlds, root, arguments.seeds, folder)
        tasks = {part: list(plan(setting)) for part, plan in plans.items() if part.split()[0] in arguments.parts}
        train_all([task for planned in tasks.values() for _, task in planned], profile.compute.processes)
        tests = {name: pools["test"] for name, pools in worlds.items()}
        scores = {part: score(profile, planned, tests) for part, planned in tasks.items()}
    before = records.read_json(arguments.out) if arguments.out.exists() else dict(parts={}, n={})
    parts = {part: dict(recipe=profile.recipe.model_dump(), balanced_accuracy=rows) for part, rows in scores.items()}
    n = {name: {pool: len(images) for pool, images in pools.items()} for name, pools in worlds.items()}
    records.write_json(arguments.out, dict(
        profile=arguments.profile, phantom_version=VERSION, root_seed=root, parts=before["parts"] | parts,
        n=before["n"] | n, intraclass_correlation=resemblance))
    for row in (row for rows in scores.values() for row in rows):
        print("{world:10} {arch:14} {arm:17} {updates:6d} updates, weight decay {weight_decay}, stage 2 at "
              "{stage_2_learning_rate_ratio}, rehearsal {rehearsal_fraction}: {mean:.3f} (SD {deviation}, n {n})"
              .format(**row))


def world(profile: Profile, folder: Path, classes: tuple[str, ...]) -> dict[str, LabelledImages]:
    """Read the sets of a prepared population: the budget's images, as many fresh as synthetic ones, and test."""
    drawn = profile.sample.images_per_class * len(classes)
    return dict(real=read_budget(folder, profile.scarce_budget, 0, "train"),
                fresh=read_all(folder / "fresh", classes).first(drawn), test=read_all(folder / "test", classes))


def population(profile: Profile, root: int, folder: Path, replicates: int = 1, **changes: Any) -> dict[str, float]:
    """Simulate and prepare a population in `folder`; return how frames of one training patient resemble."""
    replication = profile.replication.model_copy(update={"root_seed": root, "generators": replicates})
    profile = profile.model_copy(update={"replication": replication,
                                         "simulate": profile.simulate.model_copy(update=changes)})
    frames, table, latents = simulate(profile.simulate, root, profile.compute.processes)
    prepare(Simulated(frames, table), profile, folder)
    mine = (table["role"] == "train").to_numpy()
    patients, statistics = table["patient_id"][mine].to_numpy(), image_statistics(frames[mine])
    resemblance = {name: round(intraclass_correlation(statistics[:, number], patients), 3)
                   for number, name in enumerate(NAMES)}
    heads = (latents["true_plane"][mine] == "Fetal brain").to_numpy()
    sizes = latents["size_cm"][mine].to_numpy()
    resemblance["head_size_cm"] = round(intraclass_correlation(sizes[heads], patients[heads]), 3)
    return resemblance | dict(n_images=int(mine.sum()), n_patients=len(np.unique(patients)))


def very_large_set(profile: Profile, root: int, classes: tuple[str, ...]) -> LabelledImages:
    """Simulate VERY_LARGE images of fresh patients of the same population."""
    settings = profile.simulate.model_copy(
        update=dict(train_patients=1, test_patients=1, fresh_images=VERY_LARGE))
    frames, table, _ = simulate(settings, root, profile.compute.processes)
    mine = (table["role"] == "fresh").to_numpy()
    labels = np.array([classes.index(label) for label in table["label"][mine]])
    return LabelledImages(frames[mine], labels, table["scanner"][mine].to_numpy(), table["image_id"][mine].to_numpy(),
                          classes)


@dataclass(frozen=True)
class Setting:
    """Where and how often classifiers are trained by a profile's recipe."""

    profile: Profile
    worlds: dict[str, dict[str, LabelledImages]]   # the sets of each world, by its name
    root: int                                      # seed
    seeds: int                                     # of classifiers
    folder: Path                                   # of their weights

    def task(self, name: str, arm: str, arch: str, seed: int, **changes: Any) -> tuple[str, Task]:
        """Describe one classifier of a world, trained by the profile's recipe with some values changed."""
        nets = self.profile.archs | {"label_classifier": self.profile.audit.label_classifier}
        recipe = self.profile.recipe.model_copy(update=changes)
        label = "-".join(str(part) for part in (name, arm, arch, seed, *changes.values()))
        return name, Task(ARMS[arm], arch, nets[arch], recipe, 0, seed, self.root, self.worlds[name],
                          self.folder / f"{label}.safetensors")


Planned = Iterator[tuple[str, Task]]
"""The name of a world and a classifier to train in it."""


def convergence(arch: str, setting: Setting) -> Planned:
    """Plan the part `convergence` for one architecture."""
    profile = setting.profile
    for seed in range(setting.seeds):
        for factor in (0.5, 1, 2):
            yield setting.task("default", "real", arch, seed, **longer(profile, factor))
        for factor in (1, 3) if arch == next(iter(profile.archs)) else (1,):
            yield setting.task("default", "oracle", arch, seed, **longer(profile, factor))


def recipe(setting: Setting) -> Planned:
    """Plan the part `recipe`."""
    arch, ratio = next(iter(setting.profile.archs)), setting.profile.recipe.stage_2_learning_rate_ratio
    for seed in range(min(setting.seeds, 2)):
        for peak, share in ((0.5, 0.0), (ratio, 0.0), (0.05, 0.0), (ratio, 0.5), (0.05, 0.5)):
            for arm in ("oracle_then_real", "real_two_stage"):
                yield setting.task("default", arm, arch, seed, stage_2_learning_rate_ratio=peak,
                                   rehearsal_fraction=share)
        for decay in (0.05, 3.0):
            yield setting.task("default", "real", arch, seed, weight_decay=decay)
        for arm in ("real", "oracle"):
            yield setting.task("hard", arm, arch, seed)


def very_large(setting: Setting) -> Planned:
    """Plan the part `very_large`."""
    profile = setting.profile
    for seed in range(min(setting.seeds, 2)):
        yield setting.task("very large", "real", "label_classifier", seed, **longer(profile, 4),
                           batch_size=2 * profile.recipe.batch_size, weight_decay=USUAL_DECAY)


def longer(profile: Profile, factor: float) -> dict[str, int]:
    """Return the updates of both stages times a factor."""
    return {"stage_1_updates": round(factor * profile.recipe.stage_1_updates),
            "stage_2_updates": round(factor * profile.recipe.stage_2_updates)}


def train_all(tasks: list[Task], processes: int) -> None:
    """Train all classifiers in parallel and show progress."""
    progress = Progress("yardsticks", len(tasks), "classifiers")
    for number, _ in enumerate(run_parallel(train_one, tasks, processes), start=1):
        progress(number)


def balanced_accuracy(task: Task, images: LabelledImages, device: torch.device) -> float:
    """Return a trained classifier's mean recall over the classes of some images."""
    network = read_classifier(task.out, task.architecture, len(images.classes), images.images.shape[1]).to(device)
    correct = probabilities(network, images.images, device).argmax(axis=1) == images.labels
    return balanced_accuracy_of(correct, images.labels)


def score(profile: Profile, tasks: list[tuple[str, Task]], tests: dict[str, LabelledImages]) -> list[dict[str, Any]]:
    """Return balanced accuracy on each world's own test images: mean and standard deviation over seeds."""
    device = prepare_torch(profile.compute.threads)
    of_seeds: dict[tuple, list[float]] = {}
    for name, task in tasks:
        recipe = task.recipe
        key = (name, task.arch, task.arm.name, updates_of(task.arm, recipe), recipe.batch_size, recipe.weight_decay,
               recipe.stage_2_learning_rate_ratio, recipe.rehearsal_fraction)
        of_seeds.setdefault(key, []).append(balanced_accuracy(task, tests[name], device))
    columns = ("world", "arch", "arm", "updates", "batch_size", "weight_decay", "stage_2_learning_rate_ratio",
               "rehearsal_fraction")
    return [dict(zip(columns, key, strict=True), mean=round(float(np.mean(values)), 4), n=len(values),
                 deviation=round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None)
            for key, values in of_seeds.items()]


if __name__ == "__main__":
    run(main)
