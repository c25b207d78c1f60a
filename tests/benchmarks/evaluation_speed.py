"""How long `evaluate` takes over a million prediction rows, and how much memory.

    python tests/benchmarks/evaluation_speed.py

Seven arms on three architectures with six seeds, four controls on one of them: 150 classifiers and 6,700 test images of
six classes and 2,000 patients, with random probabilities, read from files and judged as the stage does it.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from synthplanes.records import PREDICTED, RUNS, Table, write_array, write_table
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.predictions import read_predictions
from synthplanes.statistics.settings import Settings

ARMS = ("real_short", "real", "real_two_stage", "real_long", "synthetic", "synthetic_then_real", "mixed")
CONTROLS = ("oracle", "oracle_then_real", "null_then_real", "poison_then_real")
ARCHS = ("convolutional", "residual", "transformer")
CLASSES = tuple("abcdef")
N_SEEDS, N_IMAGES, N_VALIDATION, N_PATIENTS = 6, 7000, 300, 2000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = write(Path(folder))
        start, cpu = time.perf_counter(), time.process_time()
        predictions = read_predictions([(arch, Path(folder) / arch) for arch in ARCHS], CLASSES)
        settings = Settings("phantom", True, .02, "scarce", frozenset(predictions.cells), 0)
        _, verdict = evaluate([predictions], settings)
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{rows:,} prediction rows, {len(verdict['records'])} records: {elapsed:.1f} s ({cpu:.1f} s of CPU time), "
          f"{peak:.2f} GiB at most")


def write(folder: Path) -> int:
    """Write the prediction folders; the number of rows (classifiers x images)."""
    rng, rows = np.random.default_rng(0), 0
    patient = np.sort(np.concatenate([np.arange(N_PATIENTS), rng.integers(0, N_PATIENTS, N_IMAGES - N_PATIENTS)]))
    labels = rng.choice(6, N_IMAGES, p=[.36, .23, .15, .14, .07, .05])
    blank = [""] * N_IMAGES
    role = np.where(np.arange(N_IMAGES) < N_VALIDATION, "validation", "test")
    images = Table(PREDICTED, dict(
        image_id=[f"i{number:05d}" for number in range(N_IMAGES)], patient_id=[f"p{number:05d}" for number in patient],
        label=[CLASSES[label] for label in labels], role=role,
        scanner=blank, operator=blank, sub_plane=blank))
    for arch in ARCHS:
        arms = ARMS + (CONTROLS if arch == "residual" else ())
        runs = [dict(arm=arm, arch=arch, budget="scarce", replicate=0, seed=seed)
                for arm in arms for seed in range(N_SEEDS)]
        logits = rng.normal(size=(len(runs), N_IMAGES, 6)).astype(np.float32)
        logits[:, np.arange(N_IMAGES), labels] += 2
        weights = np.exp(logits)
        write_array(folder / arch / "probabilities.npy", weights / weights.sum(axis=2, keepdims=True))
        write_table(folder / arch / "runs.csv", Table.of_rows(RUNS, runs))
        write_table(folder / arch / "images.csv", images)
        rows += len(runs) * N_IMAGES
    return rows


if __name__ == "__main__":
    main()
