"""Does the apparatus say `helps` of images that hold nothing new? The control `null`, over and over.

    python tests/benchmarks/null_control.py [--profile phantom] [--repetitions 20] [--seeds 5]

Every repetition is a phantom population of its own (root seeds from 1001, so the profile's test rows stay unopened),
with its own patients, budget, resample and classifiers. The first control architecture trains `real`, `real_two_stage`
and `null_then_real` by the profile's recipe; the profile's statistic and words judge the last against both others on
the population's test patients. The plateau gate is left out: both sides see the same real images for equally long.
What was found of each repetition stands in metrics/null_control.json as soon as it is known, and the same command goes
on where it was stopped: about 4 minutes each on two CPU cores.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from phantom_yardsticks import population, train_all

from synthplanes import records
from synthplanes.classification.arms import ARMS, needed_by
from synthplanes.classification.prediction import Trained, predict
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.data.phantom import VERSION
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.devices import prepare_torch
from synthplanes.protocol import Profile, read_profile
from synthplanes.statistics.clustered import WEIGHTINGS, Interval, contrast, weaker
from synthplanes.statistics.settings import PRIMARY_METRIC
from synthplanes.statistics.verdict import Evidence, judge

OUTPUT = Path(__file__).resolve().parents[2] / "metrics" / "null_control.json"
FIRST_ROOT = 1001
REFERENCES, CONTROL = ("real", "real_two_stage"), "null_then_real"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    about = dict(profile=arguments.profile, phantom_version=VERSION, recipe=profile.recipe.model_dump(),
                 arch=profile.recipe.control_archs[0], seeds=arguments.seeds, margin=profile.evaluate.margin)
    found = records.read_json(arguments.out) if arguments.out.exists() else {}
    rows = found.get("repetitions", []) if about.items() <= found.items() else []  # others than these are begun anew
    for number in range(len(rows), arguments.repetitions):
        rows.append(repetition(profile, FIRST_ROOT + number, arguments.seeds))
        words = sorted({row["word"] for row in rows})
        records.write_json(arguments.out, dict(about, repetitions=rows, said={
            word: sum(row["word"] == word for row in rows) for word in words}))
        print("root seed {root_seed}: {word}, {estimate:+.4f} ({low:+.4f} to {high:+.4f})".format(**rows[-1]), flush=True)


def repetition(profile: Profile, root: int, seeds: int) -> dict:
    """One population: the control's gain over the better reference, and the word that it earns."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        population(profile, root, folder / "population", fresh_images=0)
        classes = read_classes(folder / "population")
        budget, test = next(iter(profile.used_budgets())), read_all(folder / "population" / "test", classes)
        real = read_budget(folder / "population", budget, 0, "train")
        drawn = profile.sample.images_per_class * len(classes)
        # the resample is as large as the synthetic set; of that only its length is asked
        pools = {"real": real, "synthetic": real.select(np.arange(drawn) % len(real))}
        runs = {arm: trained(profile, arm, pools, root, seeds, folder) for arm in (*REFERENCES, "null")}
        runs[CONTROL] = trained(profile, CONTROL, pools, root, seeds, folder)
        right = {arm: correct(profile, runs[arm], test) for arm in (*REFERENCES, CONTROL)}
        patients = records.read_table(folder / "population" / "test" / "index.csv", records.INDEX)["patient_id"]
    weighting, clusters = WEIGHTINGS[PRIMARY_METRIC](test.labels), np.unique(patients, return_inverse=True)[1]
    interval: Interval = weaker(*(contrast(right[CONTROL], right[one], weighting, clusters) for one in REFERENCES))
    kept = {name: value if isinstance(value, int) else round(value, 6) for name, value in asdict(interval).items()}
    return dict(root_seed=root, word=judge(Evidence(interval, profile.evaluate.margin)).word, **kept)


def trained(profile: Profile, arm: str, pools: dict[str, LabelledImages], root: int, seeds: int, folder: Path
            ) -> list[Task]:
    arch = profile.recipe.control_archs[0]
    start = needed_by(ARMS[arm]) if ARMS[arm].stage == "finetune" else None
    tasks = [Task(ARMS[arm], seed, 0, arch, profile.used_archs()[arch], profile.recipe, root, pools,
                  folder / f"{start}-{seed}.safetensors" if start else None, folder / f"{arm}-{seed}.safetensors")
             for seed in range(seeds)]
    train_all(tasks, profile.compute.processes)
    return tasks


def correct(profile: Profile, tasks: list[Task], test: LabelledImages) -> np.ndarray:
    """float64 [1, seeds, images]: whether each run was right."""
    device = prepare_torch(profile.compute.threads)
    said = predict([Trained(task.arm.name, task.seed, 0, task.out) for task in tasks], tasks[0].architecture,
                   len(test.classes), test.images, device)
    return (said.argmax(axis=2) == test.labels)[None].astype(float)


if __name__ == "__main__":
    run(main)
