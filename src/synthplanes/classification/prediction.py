"""Predict validation and test images, and write the probabilities; after `prepare`, no other code reads test images."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.classification.networks import build, probabilities
from synthplanes.compute.devices import platform, prepare_torch
from synthplanes.compute.weights import read_weights
from synthplanes.data.packs import read_pack
from synthplanes.data.selection import read_classes
from synthplanes.progress import Progress
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.cells import Cell


def predict_runs(cell: Cell) -> None:
    """Predict validation and test images with every classifier of a profile.

    Writes, per budget and architecture, probabilities.npy float32 [runs, images, classes], runs.csv and images.csv, and
    once cell.json and cost.json. Validation images of any replicate come first; splits.csv names a replicate's own.
    """
    profile, paths, items = cell.parameters, cell.paths, []
    records.read_json(paths.analysis_plan)  # raises without an analysis plan, which precedes any access to test rows
    device, classes = prepare_torch(profile.compute.threads), read_classes(paths.prepared)
    for budget in profile.budgets_by_size():
        images, described = images_to_predict(paths.prepared, budget)
        for arch, architecture in profile.archs.items():
            runs = profile.runs_at(budget, arch)
            network = build(architecture, len(classes), images.shape[1]).to(device)
            predicted = np.empty((len(runs), len(images), len(classes)), dtype=np.float32)
            progress = Progress(f"predict, {budget}, {arch}", len(runs), "classifiers")
            for number, (arm, *_, replicate, seed) in enumerate(runs):
                network.load_state_dict(read_weights(
                    paths.weights(ARMS[arm].stage, budget, arch, replicate, arm, seed)))
                predicted[number] = probabilities(network, images, device)
                progress(number + 1)
            folder = paths.classifiers("predictions", budget, arch)
            records.write_array(folder / "probabilities.npy", predicted)
            records.write_table(folder / "images.csv", described, records.PREDICTED)
            listed = records.RUNS.frame(dict(zip(records.RUNS.columns, run, strict=True)) for run in runs)
            records.write_table(folder / "runs.csv", listed, records.RUNS)
            items.append(records.cost_item("prediction", budget=budget, arch=arch, runs=len(runs),
                                           forward=len(runs) * len(images)))
    records.write_json(cell.out / "cell.json", {
        "profile": cell.profile, "analysis_plan": hashlib.sha256(paths.analysis_plan.read_bytes()).hexdigest(),
        "platform": platform(profile.compute.instructions, profile.compute.threads)})
    records.write_cost(cell.out, items)


def images_to_predict(prepared: Path, budget: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Read the budget's validation images and all test images: uint8 [N, H, W] and records.PREDICTED.

    In cross-validation every development image is a test image of one replicate, which splits.csv names.
    """
    splits = records.read_table(Path(prepared) / "splits.csv", records.SPLITS)
    splits = splits[splits["budget"] == budget]
    role = "test" if (splits["role"] == "test").any() else "validation"
    development, test = read_pack(Path(prepared) / "development"), read_pack(Path(prepared) / "test")
    rows = np.flatnonzero(development.index["image_id"].isin(splits["image_id"][splits["role"] == role]))
    described = pd.concat([development.index.iloc[rows].assign(role=role), test.index.assign(role="test")],
                          ignore_index=True)
    return np.concatenate([development.images[rows], test.images]), records.PREDICTED.typed(described)
