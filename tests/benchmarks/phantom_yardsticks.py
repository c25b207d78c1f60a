"""What the phantom can tell, measured without any generator: how well classifiers do on it, and how frames resemble.

    python tests/benchmarks/phantom_yardsticks.py [--profile phantom] [--root-seed 1] [--seeds 4]

It simulates a population of its own root seed, so the profile's test rows stay unopened, takes the profile's
scarce budget from it, and trains, with the profile's recipe:

- `real` at a half, once, twice and four times the recipe's updates: where each architecture's plateau lies;
- `oracle` and `oracle_then_real`: what as many fresh patients' images as the synthetic set has would bring;
- a very large set of fresh patients, at twice the updates and twice the batch.

Scores are the mean recalls on the population's own test patients. The recipe in params.yaml was chosen by this
table. Writes metrics/phantom_yardsticks.json: about 15 minutes on two CPU cores.
"""

import argparse
import tempfile
from pathlib import Path

import joblib
import numpy as np

from synthplanes import records
from synthplanes.classification.arms import ARMS
from synthplanes.classification.prediction import Trained, predict
from synthplanes.classification.runs import Task, train_one
from synthplanes.command import run
from synthplanes.data.guards import Policies
from synthplanes.data.phantom import VERSION, Phantom, simulate
from synthplanes.data.phantom.image_statistics import NAMES, image_statistics, intraclass_correlation
from synthplanes.data.preparation import prepare
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.data.simulated import Simulated
from synthplanes.devices import prepare_torch
from synthplanes.progress import Progress
from synthplanes.protocol import Profile, read_profile

VERY_LARGE = 20_000  # images
OUTPUT = Path(__file__).resolve().parents[2] / "metrics" / "phantom_yardsticks.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile, root = read_profile(arguments.profile), arguments.root_seed
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        resemblance = population(profile, root, folder)
        classes = read_classes(folder)
        budget = next(iter(profile.used_budgets()))
        drawn = profile.sample.images_per_class * len(classes)
        pools = dict(real=read_budget(folder, budget, 0, "train"), fresh=read_all(folder / "fresh", classes).first(drawn))
        test = read_all(folder / "test", classes)
        very_large = dict(real=very_large_set(profile, root, folder, classes))
        tasks = list(plan(profile, pools, very_large, root, arguments.seeds, folder))
        train_all([task for _, task in tasks], profile.compute.processes)
        scores = score(profile, tasks, test, classes)
    records.write_json(arguments.out, dict(
        profile=arguments.profile, phantom_version=VERSION, root_seed=root, recipe=profile.recipe.model_dump(),
        n=dict(real=len(pools["real"]), fresh=len(pools["fresh"]), very_large=len(very_large["real"]), test=len(test)),
        balanced_accuracy=scores, intraclass_correlation=resemblance))
    for row in scores:
        print("{arch:14} {pool:11} {arm:17} {updates:6d} updates  {mean:.3f} (SD {deviation}, n {n})".format(**row))


def population(profile: Profile, root: int, folder: Path) -> dict[str, float]:
    """Simulate and prepare a population in `folder`; returns how frames of one training patient resemble."""
    frames, table, latents = simulate(_settings(profile, root))
    prepare(Simulated(frames, table), profile.prepare.image_size, Policies(**profile.prepare.guards.model_dump()),
            profile.used_budgets(), profile.prepare.validation_fraction, 1, root, folder)
    mine = table["role"] == "train"
    patients, statistics = table["patient_id"][mine], image_statistics(frames[mine])
    resemblance = {name: statistics[:, number] for number, name in enumerate(NAMES)}
    found = {name: round(intraclass_correlation(values, patients), 3) for name, values in resemblance.items()}
    heads = latents["true_plane"][mine] == "Fetal brain"
    found["head_size_cm"] = round(intraclass_correlation(latents["size_cm"][mine][heads], patients[heads]), 3)
    return found | dict(n_images=int(mine.sum()), n_patients=len(np.unique(patients)))


def very_large_set(profile: Profile, root: int, folder: Path, classes: tuple[str, ...]) -> LabelledImages:
    """Fresh patients of the same population, VERY_LARGE images."""
    settings = _settings(profile, root, train_patients=1, test_patients=1, fresh_images=VERY_LARGE)
    frames, table, _ = simulate(settings)
    mine = table["role"] == "fresh"
    place = {name: number for number, name in enumerate(classes)}
    return LabelledImages(frames[mine], np.array([place[label] for label in table["label"][mine].tolist()]),
                          table["scanner"][mine], table["image_id"][mine], classes)


def _settings(profile: Profile, root: int, **changes) -> Phantom:
    return Phantom(**(profile.simulate.model_dump() | changes), root_seed=root, workers=profile.compute.processes)


def plan(profile: Profile, pools: dict, very_large: dict, root: int, seeds: int, folder: Path):
    """Yields (the pool's name, the task) of every classifier."""
    def task(name: str, pool: dict, arm: str, arch: str, seed: int, **changes) -> tuple[str, Task]:
        recipe = profile.recipe.model_copy(update=changes)
        label = "-".join(str(part) for part in (name, arm, arch, seed, recipe.stage_1_updates))
        return name, Task(ARMS[arm], seed, 0, arch, profile.used_archs()[arch], recipe, root, pool, None,
                          folder / f"{label}.safetensors")

    p, t = profile.recipe.stage_1_updates, profile.recipe.stage_2_updates
    for arch in profile.used_archs():
        for seed in range(seeds):
            yield task("real", pools, "real", arch, seed, stage_1_updates=p // 2, stage_2_updates=t // 2)
            yield task("real", pools, "real", arch, seed)
            yield task("real", pools, "real", arch, seed, stage_1_updates=2 * p, stage_2_updates=2 * t)
        yield task("real", pools, "real", arch, 0, stage_1_updates=4 * p, stage_2_updates=4 * t)
    arch = profile.recipe.control_archs[0]
    for seed in range(seeds):
        yield task("fresh", pools, "oracle", arch, seed)
        yield task("fresh", pools, "oracle_then_real", arch, seed)
    for seed in range(min(seeds, 2)):
        yield task("very large", very_large, "real", arch, seed, stage_1_updates=2 * p, stage_2_updates=2 * t,
                   batch_size=2 * profile.recipe.batch_size)


def train_all(tasks: list[Task], processes: int) -> None:
    progress = Progress("yardsticks", len(tasks), "classifiers")
    done = joblib.Parallel(n_jobs=processes, return_as="generator")(joblib.delayed(train_one)(task) for task in tasks)
    for number, _ in enumerate(done, start=1):
        progress(number)


def score(profile: Profile, tasks: list[tuple[str, Task]], test: LabelledImages, classes: tuple[str, ...]) -> list[dict]:
    """Balanced accuracy on the population's test images: mean and standard deviation over seeds."""
    device = prepare_torch(profile.compute.threads)
    found: dict[tuple, list[float]] = {}
    for name, task in tasks:
        one = Trained(task.arm.name, task.seed, 0, task.out)
        guess = predict([one], task.architecture, len(classes), test.images, device)[0].argmax(axis=1)
        recalls = [(guess[test.labels == c] == c).mean() for c in range(len(classes))]
        updates = task.recipe.stage_1_updates + (task.recipe.stage_2_updates if task.arm.length == "P+T" else 0)
        found.setdefault((task.arch, name, task.arm.name, updates), []).append(float(np.mean(recalls)))
    return [dict(arch=arch, pool=name, arm=arm, updates=updates, mean=round(float(np.mean(values)), 4),
                 deviation=round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None, n=len(values))
            for (arch, name, arm, updates), values in found.items()]


if __name__ == "__main__":
    run(main)
