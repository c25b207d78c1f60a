"""Prediction: the only code that looks at test images, and the file between it and the scores."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from synthplanes import records
from synthplanes.protocol.arms import arms_of, seeds_of
from synthplanes.classification.networks import build, load_weights
from synthplanes.data.images import to_float
from synthplanes.data.packs import read_pack
from synthplanes.data.selection import read_classes
from synthplanes.compute.devices import prepare_torch
from synthplanes.progress import Progress
from synthplanes.protocol.profiles import Profile
from synthplanes.protocol.config import Architecture

BATCH = 256  # images; changes nothing but memory


@dataclass(frozen=True)
class Trained:
    """A trained classifier on file."""

    arm: str
    seed: int
    replicate: int
    weights: Path


def predict(trained: list[Trained], architecture: Architecture, n_classes: int, images: np.ndarray,
            device: torch.device) -> np.ndarray:
    """Probabilities float32 [runs, N, K] of `images` uint8 [N, H, W] under every classifier."""
    network = build(architecture, n_classes, images.shape[1]).to(device)
    probabilities = np.empty((len(trained), len(images), n_classes), dtype=np.float32)
    progress = Progress(f"predict, {architecture.model}", len(trained), "classifiers")
    for number, run in enumerate(trained):
        network.load_state_dict(load_weights(run.weights))
        network.eval()
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(to_float(images[start:start + BATCH])).unsqueeze(1).to(device)
                probabilities[number, start:start + BATCH] = network(batch).softmax(dim=1).cpu().numpy()
        progress(number + 1)
    return probabilities


def predict_cell(arguments: Namespace, profile: Profile) -> list[dict]:
    """Predict validation and test images with every classifier of one (profile, budget, architecture) cell.

    Writes probabilities.npy float32 [runs, images, classes], runs.csv and images.csv (the same for every
    architecture of a budget); returns the counted work. Validation images of any replicate come first; a
    replicate's own are those that splits.csv names.
    """
    trained = [Trained(arm.name, seed, replicate,
                       getattr(arguments, stage) / f"r{replicate}" / f"{arm.name}-s{seed}.safetensors")
               for stage in ("baseline", "pretrain", "finetune", "joint")
               for arm in arms_of(stage, arguments.arch, profile.recipe)
               for replicate in range(profile.replication.generators)
               for seed in seeds_of(arm, profile.recipe, profile.replication.seeds)]
    images, described = images_to_predict(arguments.prepared, arguments.budget)
    classes = read_classes(arguments.prepared)
    device = prepare_torch(profile.compute.threads)
    probabilities = predict(trained, profile.used_archs()[arguments.arch], len(classes), images, device)
    records.write_array(arguments.out / "probabilities.npy", probabilities)
    records.write_table(arguments.out / "images.csv", described)
    records.write_table(arguments.out / "runs.csv", records.Table.of_rows(records.RUNS, (
        dict(arm=run.arm, arch=arguments.arch, budget=arguments.budget, replicate=run.replicate, seed=run.seed)
        for run in trained)))
    return [records.cost_item("prediction", arch=arguments.arch, runs=len(trained),
                              forward=len(trained) * len(images))]


def images_to_predict(prepared: Path, budget: str) -> tuple[np.ndarray, records.Table]:
    """The budget's validation images and all test images: uint8 [N, H, W] and records.PREDICTED.

    In cross-validation every development image is a test image, once; splits.csv says whose.
    """
    splits = records.read_table(Path(prepared) / "splits.csv", records.SPLITS)
    own = splits["budget"] == budget
    crossed = bool((splits["role"][own] == "test").any())
    held_out = set(splits["image_id"][own & (splits["role"] == ("test" if crossed else "validation"))].tolist())
    development, test = read_pack(Path(prepared) / "development"), read_pack(Path(prepared) / "test")
    rows = np.flatnonzero([name in held_out for name in development.index["image_id"].tolist()])
    parts = [(development.index.select(rows), "test" if crossed else "validation"), (test.index, "test")]
    columns = {name: np.concatenate([index[name] for index, _ in parts])
               for name in records.PREDICTED.columns if name != "role"}
    role = np.concatenate([np.full(len(index), role) for index, role in parts])
    return (np.concatenate([development.images[rows], test.images]),
            records.Table(records.PREDICTED, {**columns, "role": role}))
