"""Measure how long `evaluate` takes over a million prediction rows, and how much memory.

    python tests/benchmarks/evaluation_speed.py

Eleven arms on three architectures with six seeds, four controls on one of them: 222 classifiers and 6,700 test images
of six classes and 2,000 patients, with random probabilities, read from files and evaluated as the stage does it, with
scanners, operators, sub-planes and the rules that know the metadata alone. Writes `evaluation` into
artifacts/benchmarks.json.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measured import FILE, keep

from synthplanes.command import run
from synthplanes.protocol.analysis_plan import Settings
from synthplanes.protocol.contrasts import HYPOTHESES
from synthplanes.records import INDEX, PREDICTED, RUNS, SPLITS, write_array, write_table
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.predictions import read_predictions

ARMS = ("real_short", "real", "real_two_stage", "real_long", "real_two_stage_long", "duplicate_joint",
        "duplicate_joint_long", "real_equal_exposure", "synthetic", "synthetic_then_real", "joint")
CONTROLS = ("oracle", "oracle_then_real", "resampled_then_real", "permuted_labels_then_real")
ARCHS = ("convolutional", "residual", "transformer")
CLASSES = tuple("abcdef")
N_SEEDS, N_IMAGES, N_VALIDATION, N_PATIENTS = 6, 7000, 300, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        rows, splits, development = write(Path(folder))
        start, cpu = time.perf_counter(), time.process_time()
        predictions = read_predictions([(arch, Path(folder) / arch) for arch in ARCHS], CLASSES)
        settings = Settings("phantom", True, .02, "scarce", HYPOTHESES, frozenset(predictions.identities), 0)
        tables = evaluate([predictions], settings, splits, development).tables
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    keep("evaluation", dict(prediction_rows=rows, contrast_rows=len(tables["contrasts"]),
                            slice_rows=len(tables["slices"]), seconds=round(elapsed, 1), cpu_seconds=round(cpu, 1),
                            peak_memory_gib=round(peak, 2)), out)
    print(f"{rows:,} prediction rows, {len(tables['contrasts'])} contrasts: {elapsed:.1f} s ({cpu:.1f} s of CPU time), "
          f"{peak:.2f} GiB at most")


def write(folder: Path) -> tuple[int, pd.DataFrame, pd.DataFrame]:
    """Write the prediction folders; return their rows (classifiers x images), splits.csv and the development index."""
    rng, rows = np.random.default_rng(0), 0
    patient = np.sort(np.concatenate([np.arange(N_PATIENTS), rng.integers(0, N_PATIENTS, N_IMAGES - N_PATIENTS)]))
    labels = rng.choice(6, N_IMAGES, p=[.36, .23, .15, .14, .07, .05])
    scanner, operator = ([f"{name}{number}" for number in rng.integers(0, n, N_IMAGES)]
                         for name, n in (("scanner ", 4), ("operator ", 6)))
    sub_plane = [f"plane {number}" if CLASSES[label] == "a" else "" for label, number in
                 zip(labels, rng.integers(0, 3, N_IMAGES), strict=True)]
    role = np.where(np.arange(N_IMAGES) < N_VALIDATION, "validation", "test")
    images = PREDICTED.typed(dict(
        image_id=[f"i{number:05d}" for number in range(N_IMAGES)], patient_id=[f"p{number:05d}" for number in patient],
        label=[CLASSES[label] for label in labels], role=role,
        scanner=scanner, operator=operator, sub_plane=sub_plane))
    trained = [dict(image_id=f"t{number:05d}", patient_id=f"q{number // 5}", label=CLASSES[number % 6], role="train",
                    scanner=f"scanner {number % 3}", operator=f"operator {number % 5}", sub_plane="", sha256="")
               for number in range(4000)]
    splits = SPLITS.frame([dict(budget="scarce", replicate=0, image_id=name, role=role) for name, role in (
        *((row["image_id"], "train") for row in trained),
        *((name, "validation") for name in images["image_id"].tolist()[:N_VALIDATION]))])
    for arch in ARCHS:
        arms = ARMS + (CONTROLS if arch == "residual" else ())
        runs = [dict(arm=arm, arch=arch, budget="scarce", replicate=0, seed=seed)
                for arm in arms for seed in range(N_SEEDS)]
        logits = rng.normal(size=(len(runs), N_IMAGES, 6)).astype(np.float32)
        logits[:, np.arange(N_IMAGES), labels] += 2
        weights = np.exp(logits)
        write_array(folder / arch / "probabilities.npy", weights / weights.sum(axis=2, keepdims=True))
        write_table(folder / arch / "runs.csv", RUNS.frame(runs), RUNS)
        write_table(folder / arch / "images.csv", images, PREDICTED)
        rows += len(runs) * N_IMAGES
    return rows, splits, INDEX.frame(trained)


if __name__ == "__main__":
    run(main)
