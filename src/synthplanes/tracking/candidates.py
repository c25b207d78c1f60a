"""Which models are worth registering, decided on validation images alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.protocol.arms import ARMS
from synthplanes.data.selection import read_classes
from synthplanes.errors import UserError
from synthplanes.statistics.predictions import Predictions, read_predictions
from synthplanes.reproduction.checkout import Cell, Checkout, md5
from synthplanes.tracking.projection import trained_by


@dataclass(frozen=True)
class Candidate:
    """A model to register: `files` are its artifacts, `description` JSON that is stored beside them."""

    name: str                     # of the registered model
    kind: str                     # classifier | generator
    cell: Cell                    # that made it
    md5: str                      # of the weights
    files: dict[str, Path]
    description: dict
    tags: dict[str, str]
    alias: str


def classifiers(checkout: Checkout) -> tuple[list[Candidate], list[str]]:
    """The best classifier on validation of every profile and architecture; and why one is lacking."""
    found, lacking = [], []
    cells: dict[tuple[str, str], list[Cell]] = {}
    for cell in checkout.cells.values():
        if cell.stage == "predict":
            cells.setdefault((cell.profile, cell.arch), []).append(cell)
    for (profile, arch), predicted in sorted(cells.items()):
        try:
            candidate = _best_classifier(checkout, profile, arch, predicted)
        except UserError as error:
            lacking.append(f"{profile}-{arch} is not registered: {error}")
            continue
        if candidate is not None:
            found.append(candidate)
    return found, lacking


def _best_classifier(checkout: Checkout, profile: str, arch: str, predicted: list[Cell]) -> Candidate | None:
    """None where the profile does not use the architecture."""
    prepared = _out(checkout, checkout.of("prepare", profile), f"artifacts/prepared/{profile}")
    classes = read_classes(prepared)
    splits = records.read_table(prepared / "splits.csv", records.SPLITS)
    best = None
    for cell in predicted:
        folder = _out(checkout, cell, f"artifacts/predictions/{profile}/{cell.budget}/{arch}")
        if records.read_json(folder / "cell.json")["model"] is None:
            continue
        predictions = read_predictions([(arch, folder)], classes)
        held_out = splits.select((splits["budget"] == cell.budget) & (splits["role"] == "validation"))
        n_validation = len(set(held_out["image_id"].tolist()))
        for position, (arm, _, budget, replicate, seed) in enumerate(predictions.cells):
            if ARMS[arm].control is not None or arm == "real_long":
                continue  # controls and the plateau gate answer questions; nobody would use them
            score = validation_score(predictions, position, held_out)
            # Budgets have different validation images: the larger set decides, then the score, then the name.
            rank = (-n_validation, -score, arm, replicate, seed)
            if best is None or rank < best[0]:
                best = rank, score, cell, arm, budget, replicate, seed
    if best is None:
        return None
    _, score, cell, arm, budget, replicate, seed = best
    trained = trained_by(checkout, profile, arm, arch, budget)
    place = f"{profile}/{budget}/{arch}"
    weights = _out(checkout, trained,
                   f"artifacts/{ARMS[arm].stage}/{place}/r{replicate}/{arm}-s{seed}.safetensors")
    prefix = f"profiles.{profile}.archs.{arch}."
    options = {name.removeprefix(f"{prefix}options."): value for name, value in trained.params.items()
               if name.startswith(f"{prefix}options.")}
    architecture = {"model": trained.params[f"{prefix}model"], "options": options,
                    "learning_rate": trained.params[f"{prefix}learning_rate"]}
    pixels = records.read_array(prepared / "development" / "images.npy").shape[1]
    return Candidate(
        name=f"{profile}-{arch}", kind="classifier", cell=trained, md5=md5(weights), files={"weights": weights},
        description={"architecture": architecture, "classes": list(classes), "image_size": pixels},
        tags={"profile": profile, "arch": arch, "budget": budget, "arm": arm, "replicate": str(replicate),
              "seed": str(seed), "validation_balanced_accuracy": f"{score:.6f}"}, alias="best")


def validation_score(predictions: Predictions, position: int, held_out: records.Table) -> float:
    """Balanced accuracy of one run on its own replicate's validation images, over the classes they hold.

    `held_out` are a budget's validation rows (records.SPLITS); in cross-validation such an image is another fold's test.
    """
    _, _, budget, replicate, _ = predictions.cells[position]
    rows = np.isin(predictions.images["image_id"], held_out["image_id"][held_out["replicate"] == replicate])
    if not rows.any():
        raise UserError(f"budget {budget}, replicate {replicate} has no validation image: run prepare and predict "
                        "again.")
    labels, correct = predictions.labels[rows], predictions.correct[position, rows]
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))


def generators(checkout: Checkout) -> tuple[list[Candidate], list[str]]:
    """The generator of every profile and budget: of several, the one with the lowest held-out loss."""
    found, lacking = [], []
    for cell in checkout.cells.values():
        if cell.stage != "train_diffusion":
            continue
        name = f"{cell.profile}-{cell.budget}-generator"
        try:
            candidate = _generator(checkout, cell, name)
        except UserError as error:
            lacking.append(f"{name} is not registered: {error}")
            continue
        if candidate is not None:
            found.append(candidate)
    return found, lacking


def _generator(checkout: Checkout, cell: Cell, name: str) -> Candidate | None:
    place = f"{cell.profile}/{cell.budget}"
    folder = _out(checkout, cell, f"artifacts/generator/{place}")
    replicates = sorted(folder.glob("r*"), key=lambda path: int(path.name[1:]))
    if not replicates:
        return None
    losses = [float(records.read_table(path / "history.csv", records.GENERATOR_HISTORY)["held_out_loss"].min())
              for path in replicates]
    best = replicates[int(np.argmin(losses))]
    sampled = checkout.of("sample", cell.profile, cell.budget)
    prefix = f"profiles.{cell.profile}.sample."
    sample = {key.removeprefix(prefix): value for key, value in (sampled.params if sampled else {}).items()
              if key.startswith(prefix)}
    if not sample:
        raise UserError(f"dvc.lock has no parameters of sample@{cell.profile}-{cell.budget}: run `dvc repro`.")
    files = {"denoiser": best}
    if sample["guidance"] == "classifier":
        files["guide"] = _out(checkout, checkout.of("train_guide", cell.profile, cell.budget),
                              f"artifacts/guide/{place}/{best.name}")
    return Candidate(name=name, kind="generator", cell=cell, md5=md5(best / "weights.safetensors"), files=files,
                     description=sample, alias="current",
                     tags={"profile": cell.profile, "budget": cell.budget, "replicate": best.name[1:],
                           "held_out_loss": f"{min(losses):.6f}"})


def _out(checkout: Checkout, cell: Cell | None, path: str) -> Path:
    place = checkout.out(cell, path) if cell is not None else None
    if place is None:
        raise UserError(f"{path} is absent or not what dvc.lock says: run `dvc pull` or `dvc repro`.")
    return place
