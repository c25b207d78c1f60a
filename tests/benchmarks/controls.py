"""Test that the apparatus answers as it must where the answer is known: controls, on one population after the other.

    python tests/benchmarks/controls.py [--profile phantom] [--repetitions 20] [--seeds 5]
        [--controls resampled oracle permuted_labels]

Every repetition is a phantom population of its own (root seeds from 1001, so the profile's test rows stay unopened),
with its own patients, budget and classifiers. The profile's first architecture trains `real`, `real_two_stage` and each
control by the profile's recipe; a control is judged against both others on the population's test patients by the rules
of the paper's hypothesis, as `evaluate` judges it. First stages: `resampled`, a resample of the real images;
`oracle`, as many fresh patients' images as the profile draws synthetic ones; `permuted_labels`, the same with permuted
labels. The convergence check is left out: with `resampled` both sides see the same real images for equally long.

A row holds a control of one population: its `word`, the one-sided `p_value` of a gain over both references, and under
`against` the gain over each of them (`estimate`, with the 95 % limits `low` and `high`). All other numbers of the row,
`estimate`, `low` and `high` among them, are those against `real_two_stage`, and so is `gain`: each control's mean over
the populations, a population being one observation. Fractions: 0.01 is a point.
metrics/controls.json holds each result as soon as it is known, and the same command, also with other controls, goes on
where it was stopped: about 2 minutes for each repetition of the first control on two CPU cores, 1 for each other.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from phantom_yardsticks import population, train_all
from scipy import stats

from synthplanes import records
from synthplanes.classification.networks import probabilities, read_classifier
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.phantom.simulation import VERSION
from synthplanes.protocol.arms import ARMS, needed_by
from synthplanes.protocol.contrasts import PAPER, REFERENCES
from synthplanes.protocol.profiles import Profile, read_profile
from synthplanes.protocol.words import PRIMARY_METRIC
from synthplanes.statistics.blocks import FRAMES
from synthplanes.statistics.clustered import contrast
from synthplanes.statistics.hypotheses import Case, decide
from synthplanes.statistics.verdict import Evidence

OUTPUT = Path(__file__).resolve().parents[2] / "metrics" / "controls.json"
FIRST_ROOT = 1001
CONTROLS = ("resampled", "oracle", "permuted_labels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--controls", nargs="+", choices=CONTROLS, default=CONTROLS)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    about = dict(profile=arguments.profile, phantom_version=VERSION, arch=next(iter(profile.archs)),
                 recipe=profile.recipe.model_dump(exclude={"optional_arms"}),  # which other arms there are changes none
                 simulate=profile.simulate.model_dump(), budget=profile.budgets[profile.scarce_budget],
                 validation_fraction=profile.prepare.validation_fraction, seeds=arguments.seeds,
                 margin=profile.evaluate.margin)
    before = records.read_json(arguments.out) if arguments.out.exists() else {}
    rows = before.get("repetitions", []) if about.items() <= before.items() else []  # others than these begin anew
    for root in range(FIRST_ROOT, FIRST_ROOT + arguments.repetitions):
        wanted = [name for name in arguments.controls if not any(
            (row["control"], row["root_seed"]) == (name, root) for row in rows)]
        for row in repetition(profile, root, arguments.seeds, wanted) if wanted else ():
            rows.append(row)
            print("{control}, root seed {root_seed}: {word}, {estimate:+.4f} ({low:+.4f} to {high:+.4f})".format(**row),
                  flush=True)
        rows.sort(key=lambda row: (row["control"], row["root_seed"]))
        records.write_json(arguments.out, dict(about, repetitions=rows, said=said(rows), gain=gains(rows)))


def said(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count how often each control earned each word."""
    return {name: {word: sum(row["word"] == word for row in own) for word in sorted({row["word"] for row in own})}
            for name in CONTROLS if (own := [row for row in rows if row["control"] == name])}


def gains(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each control's mean gain over populations with its 95 % interval (t, a population the unit).

    The limits are None below two populations.
    """
    by_control = {}
    for name in CONTROLS:
        own = [row["estimate"] for row in rows if row["control"] == name]
        if own:
            many = len(own) > 1
            limits = stats.ttest_1samp(own, 0).confidence_interval(.95) if many else (None, None)
            low, high = (round(float(limit), 6) if many else None for limit in limits)
            by_control[name] = dict(mean=round(float(np.mean(own)), 6), low=low, high=high, populations=len(own))
    return by_control


def repetition(profile: Profile, root: int, seeds: int, controls: list[str]) -> list[dict[str, Any]]:
    """Return, of one population, each control's gains over both references, and the word that it earns."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        population(profile, root, folder / "population")
        classes = read_classes(folder / "population")
        test = read_all(folder / "population" / "test", classes)
        fresh = read_all(folder / "population" / "fresh", classes).first(profile.sample.images_per_class * len(classes))
        # `resampled` is as large as the synthetic set, `permuted_labels` permutes its labels: fresh images stand in.
        pools = {"real": read_budget(folder / "population", profile.scarce_budget, 0, "train"), "fresh": fresh,
                 "synthetic": fresh}
        runs = {arm: trained(profile, arm, pools, root, seeds, folder)
                for arm in (*REFERENCES, *controls, *(f"{name}_then_real" for name in controls))}
        right = {arm: correct(profile, tasks, test) for arm, tasks in runs.items()}
        patients = records.read_table(folder / "population" / "test" / "index.csv", records.INDEX)["patient_id"]
    blocks = FRAMES[PRIMARY_METRIC](test.labels, patients.to_numpy())

    def judged(name: str) -> dict[str, Any]:
        arm = f"{name}_then_real"
        of = {reference: contrast(right[arm], right[reference], blocks) for reference in REFERENCES}
        decision = decide([Case(replace(PAPER, arm=arm), {
            reference: Evidence(interval, profile.evaluate.margin) for reference, interval in of.items()})])[0]
        numbers = {reference: {key: value if isinstance(value, int) else round(value, 6)
                               for key, value in asdict(interval).items()} for reference, interval in of.items()}
        against = {reference: {key: its[key] for key in ("estimate", "low", "high")}
                   for reference, its in numbers.items()}
        return {**numbers[PAPER.bound_reference], "control": name, "root_seed": root, "word": decision.judgement.word,
                "p_value": round(decision.p_value, 6), "against": against}

    return [judged(name) for name in controls]


def trained(profile: Profile, arm: str, pools: dict[str, LabelledImages], root: int, seeds: int, folder: Path
            ) -> list[Task]:
    """Train an arm on the profile's first architecture, once per seed."""
    arch, architecture = next(iter(profile.archs.items()))
    start = needed_by(ARMS[arm]) if ARMS[arm].stage == "finetune" else None
    tasks = [Task(ARMS[arm], arch, architecture, profile.recipe, 0, seed, root, pools,
                  folder / f"{arm}-{seed}.safetensors", folder / f"{start}-{seed}.safetensors" if start else None)
             for seed in range(seeds)]
    train_all(tasks, profile.compute.processes)
    return tasks


def correct(profile: Profile, tasks: list[Task], test: LabelledImages) -> np.ndarray:
    """Return whether each run is right: float64 [1, seeds, images]."""
    device = prepare_torch(profile.compute.threads)
    networks = (read_classifier(task.out, task.architecture, len(test.classes), test.images.shape[1]).to(device)
                for task in tasks)
    predicted = [probabilities(network, test.images, device).argmax(axis=1) for network in networks]
    return (np.stack(predicted) == test.labels)[None].astype(float)


if __name__ == "__main__":
    run(main)
