"""What the phantom can tell, measured without any generator: how well classifiers do on it, and how frames resemble.

    python tests/benchmarks/phantom_yardsticks.py [--profile phantom] [--root-seed 1] [--seeds 3] [--parts PART ...]
        [--archs ROLE ...]

It simulates a population of its own root seed, so the profile's test rows stay unopened, takes the profile's
scarce budget from it, and trains, with the profile's recipe, in three parts:

- plateau: `real` at a half, once and twice the recipe's updates: where each architecture's plateau lies; `oracle` at
  once its updates, on the controls' architecture also at three times: what as many fresh patients' images as the
  synthetic set has would bring within the recipe, and at their own plateau, for which 2,400 images need longer than 300;
- recipe: on the controls' architecture, with two seeds at most: `oracle_then_real` and `real_two_stage` at three peaks
  of stage 2, two of them also while half of each batch rehearses stage 1's images, `real` at other weight decays: what
  the recipe's values do; `real` and `oracle` on the hard phantom;
- very_large: a very large set of fresh patients, at four times the updates and twice the batch, by the audit's judge at
  the usual decay: what keeps a net on few images from learning them by heart limits it on many.

Scores are the mean recalls on the population's own test patients. Writes metrics/phantom_yardsticks.json, each part
beside the recipe that it was run with: about 30 minutes on two CPU cores, two thirds of them for the first part.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np

from synthplanes import records
from synthplanes.protocol.arms import ARMS, updates_of
from synthplanes.classification.prediction import Trained, predict
from synthplanes.classification.runs import Task, train_one
from synthplanes.command import run
from synthplanes.data.preparation.guards import Policies
from synthplanes.phantom import VERSION, Phantom, simulate
from synthplanes.phantom.image_statistics import NAMES, image_statistics, intraclass_correlation
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.data.sources.simulated import Simulated
from synthplanes.compute.devices import prepare_torch
from synthplanes.progress import Progress
from synthplanes.protocol.profiles import Profile, read_profile

VERY_LARGE = 20_000  # images
USUAL_DECAY = 0.05   # of AdamW in timm's recipes
PARTS = ("plateau", "recipe", "very_large")
OUTPUT = Path(__file__).resolve().parents[2] / "metrics" / "phantom_yardsticks.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="the others stay as they are in the file")
    parser.add_argument("--archs", nargs="+", help="roles of the part plateau (default: all)")
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
            worlds["very large"] = dict(worlds["default"], real=very_large_set(profile, root, folder, classes))
        plans = {f"plateau {arch}": partial(plateau, arch) for arch in arguments.archs or profile.used_archs()}
        plans |= {"recipe": recipe, "very_large": very_large}
        tasks = {part: list(plan(profile, worlds, root, arguments.seeds, folder)) for part, plan in plans.items()
                 if part.split()[0] in arguments.parts}
        train_all([task for planned in tasks.values() for _, task in planned], profile.compute.processes)
        tests = {name: pools["test"] for name, pools in worlds.items()}
        scores = {part: score(profile, planned, tests, classes) for part, planned in tasks.items()}
    before = records.read_json(arguments.out) if arguments.out.exists() else dict(parts={}, n={})
    parts = {part: dict(recipe=profile.recipe.model_dump(), balanced_accuracy=rows) for part, rows in scores.items()}
    n = {name: {pool: len(images) for pool, images in pools.items()} for name, pools in worlds.items()}
    records.write_json(arguments.out, dict(
        profile=arguments.profile, phantom_version=VERSION, root_seed=root, parts=before["parts"] | parts,
        n=before["n"] | n, intraclass_correlation=resemblance))
    for row in (row for rows in scores.values() for row in rows):
        print("{world:10} {arch:14} {arm:17} {updates:6d} updates, weight decay {weight_decay}, stage 2 at "
              "{stage_2_learning_rate_ratio}, rehearsal {rehearsal_share}: {mean:.3f} (SD {deviation}, n {n})".format(**row))


def world(profile: Profile, folder: Path, classes: tuple[str, ...]) -> dict[str, LabelledImages]:
    """The sets of a prepared population: the budget's training images, as many fresh as synthetic ones, and test."""
    drawn = profile.sample.images_per_class * len(classes)
    return dict(real=read_budget(folder, next(iter(profile.used_budgets())), 0, "train"),
                fresh=read_all(folder / "fresh", classes).first(drawn), test=read_all(folder / "test", classes))


def population(profile: Profile, root: int, folder: Path, replicates: int = 1, **changes) -> dict[str, float]:
    """Simulate and prepare a population in `folder`; returns how frames of one training patient resemble."""
    frames, table, latents = simulate(_settings(profile, root, **changes))
    prepare(Simulated(frames, table), profile.prepare.image_size, Policies(**profile.prepare.guards.model_dump()),
            profile.used_budgets(), profile.prepare.validation_fraction, replicates, root, folder)
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


def plateau(arch: str, profile: Profile, worlds: dict, root: int, seeds: int, folder: Path):
    """Yields (the world's name, the task) of every classifier of this part; so do the other two."""
    for seed in range(seeds):
        for factor in (0.5, 1, 2):
            yield task(profile, worlds, root, folder, "default", "real", arch, seed, **longer(profile, factor))
        for factor in (1, 3) if arch == profile.recipe.control_archs[0] else (1,):
            yield task(profile, worlds, root, folder, "default", "oracle", arch, seed, **longer(profile, factor))


def recipe(profile: Profile, worlds: dict, root: int, seeds: int, folder: Path):
    arch = profile.recipe.control_archs[0]
    for seed in range(min(seeds, 2)):
        ratio = profile.recipe.stage_2_learning_rate_ratio
        for peak, share in ((0.5, 0.0), (ratio, 0.0), (0.05, 0.0), (ratio, 0.5), (0.05, 0.5)):
            for arm in ("oracle_then_real", "real_two_stage"):
                yield task(profile, worlds, root, folder, "default", arm, arch, seed, stage_2_learning_rate_ratio=peak,
                           rehearsal_share=share)
        for decay in (0.05, 3.0):
            yield task(profile, worlds, root, folder, "default", "real", arch, seed, weight_decay=decay)
        for arm in ("real", "oracle"):
            yield task(profile, worlds, root, folder, "hard", arm, arch, seed)


def very_large(profile: Profile, worlds: dict, root: int, seeds: int, folder: Path):
    for seed in range(min(seeds, 2)):
        yield task(profile, worlds, root, folder, "very large", "real", "judge", seed, **longer(profile, 4),
                   batch_size=2 * profile.recipe.batch_size, weight_decay=USUAL_DECAY)


def task(profile: Profile, worlds: dict, root: int, folder: Path, name: str, arm: str, arch: str, seed: int, **changes
         ) -> tuple[str, Task]:
    nets = profile.used_archs() | {"judge": profile.audit.judge}
    changed = profile.recipe.model_copy(update=changes)
    label = "-".join(str(part) for part in (name, arm, arch, seed, *changes.values()))
    return name, Task(ARMS[arm], seed, 0, arch, nets[arch], changed, root, worlds[name], None,
                      folder / f"{label}.safetensors")


def longer(profile: Profile, factor: float) -> dict[str, int]:
    return {key: round(factor * getattr(profile.recipe, key)) for key in ("stage_1_updates", "stage_2_updates")}


def train_all(tasks: list[Task], processes: int) -> None:
    progress = Progress("yardsticks", len(tasks), "classifiers")
    done = joblib.Parallel(n_jobs=processes, return_as="generator")(joblib.delayed(train_one)(task) for task in tasks)
    for number, _ in enumerate(done, start=1):
        progress(number)


def score(profile: Profile, tasks: list[tuple[str, Task]], tests: dict[str, LabelledImages], classes: tuple[str, ...]
          ) -> list[dict]:
    """Balanced accuracy on each world's own test images: mean and standard deviation over seeds."""
    device = prepare_torch(profile.compute.threads)
    found: dict[tuple, list[float]] = {}
    for name, task in tasks:
        one, recipe, test = Trained(task.arm.name, task.seed, 0, task.out), task.recipe, tests[name]
        guess = predict([one], task.architecture, len(classes), test.images, device)[0].argmax(axis=1)
        recalls = [(guess[test.labels == c] == c).mean() for c in range(len(classes))]
        key = (name, task.arch, task.arm.name, updates_of(task.arm, recipe), recipe.batch_size, recipe.weight_decay,
               recipe.stage_2_learning_rate_ratio, recipe.rehearsal_share)
        found.setdefault(key, []).append(float(np.mean(recalls)))
    columns = ("world", "arch", "arm", "updates", "batch_size", "weight_decay", "stage_2_learning_rate_ratio",
               "rehearsal_share")
    return [dict(zip(columns, key), mean=round(float(np.mean(values)), 4), n=len(values),
                 deviation=round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None)
            for key, values in found.items()]


if __name__ == "__main__":
    run(main)
