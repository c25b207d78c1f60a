"""Choose the models to register, on validation images alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data.selection import read_classes
from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import Profile, from_subset
from synthplanes.reproduction.checkout import Checkout, LockedStage, md5
from synthplanes.statistics.predictions import Predictions, read_predictions
from synthplanes.statistics.scores import balanced_accuracy_of


@dataclass(frozen=True)
class Candidate:
    """A model to register: `files` are its artifacts, `description` is JSON that is stored beside them."""

    name: str                     # of the registered model
    kind: str                     # classifier | generator
    stage: LockedStage            # that trained it
    md5: str                      # of the weights
    files: dict[str, Path]
    description: dict[str, Any]
    tags: dict[str, str]
    alias: str


def candidates(checkout: Checkout) -> tuple[list[Candidate], list[str]]:
    """Return the models to register, and for every other one a sentence that says why it is not.

    For every profile and architecture this is the classifier with the best balanced accuracy on validation images, and
    for every profile and budget the generator with the lowest held-out loss.
    """
    wanted, chosen, left_out = {}, [], []
    for stage in checkout.stages.values():
        if stage.stage in ("predict", "sample") and (protocol := checkout.protocol(stage)):
            profile = from_subset(protocol["parameters"])
            roles = profile.archs if stage.stage == "predict" else profile.budgets
            for role in roles:
                name = f"{stage.profile}-{role}" + ("-generator" if stage.stage == "sample" else "")
                wanted[name] = (_best_classifier if stage.stage == "predict" else _best_generator, stage, profile, role)
    for name, (choose, stage, profile, role) in wanted.items():
        try:
            chosen.append(choose(name, checkout, Paths(stage.profile), profile, role))
        except UserError as error:
            left_out.append(f"{name} is not registered: {error}")
    return chosen, left_out


def _best_classifier(name: str, checkout: Checkout, paths: Paths, profile: Profile, arch: str) -> Candidate:
    _, prepared = _present(checkout, "prepare", paths, paths.prepared)
    _, predicted = _present(checkout, "predict", paths, paths.artifact("predictions"))
    splits = records.read_table(prepared / "splits.csv", records.SPLITS)
    ranked = []
    for budget in profile.budgets:
        predictions = read_predictions([(arch, predicted / budget / arch)], read_classes(prepared))
        held_out = splits[(splits["budget"] == budget) & (splits["role"] == "validation")]
        for position, run in enumerate(predictions.identities):
            arm, _, _, replicate, seed = run
            # Classifiers of controls and of the convergence check are not meant for use.
            if ARMS[arm].kind != "control" and arm != "real_long":
                # Budgets have different validation images: the larger set decides, then the score, then the name.
                score = validation_score(predictions, position, held_out)
                ranked.append((-held_out["image_id"].nunique(), -score, arm, replicate, seed, budget))
    _, score, arm, replicate, seed, budget = min(ranked)
    trained = ARMS[arm].stage
    stage, weights = _present(checkout, trained, paths, paths.weights(trained, budget, arch, replicate, arm, seed))
    image_size = records.read_array(prepared / "development" / "images.npy").shape[1]
    return Candidate(
        name, "classifier", stage, md5(weights), {"weights": weights},
        {"architecture": profile.archs[arch].model_dump(mode="json"), "classes": list(read_classes(prepared)),
         "image_size": image_size},
        {"profile": paths.profile, "arch": arch, "budget": budget, "arm": arm, "replicate": str(replicate),
         "seed": str(seed), "validation_balanced_accuracy": f"{-score:.6f}"}, "best")


def validation_score(predictions: Predictions, position: int, held_out: pd.DataFrame) -> float:
    """Return the balanced accuracy of one run on its own replicate's validation images, over the classes they hold.

    `held_out` are a budget's validation rows (records.SPLITS). In cross-validation such an image is the test image of
    another fold.
    """
    _, _, budget, replicate, _ = predictions.identities[position]
    rows = np.isin(predictions.column("image_id"), held_out["image_id"][held_out["replicate"] == replicate].tolist())
    if not rows.any():
        raise UserError(f"budget {budget}, replicate {replicate} has no validation image: run prepare and predict "
                        "again.")
    return balanced_accuracy_of(predictions.correct[position, rows], predictions.labels[rows])


def _best_generator(name: str, checkout: Checkout, paths: Paths, profile: Profile, budget: str) -> Candidate:
    folders = [_present(checkout, "train_diffusion", paths, paths.replicate("generator", budget, replicate))
               for replicate in range(profile.replication.generators)]
    losses = [float(records.read_table(folder / "history.csv", records.GENERATOR_HISTORY)["held_out_loss"].min())
              for _, folder in folders]
    best = int(np.argmin(losses))
    stage, denoiser = folders[best]
    files = {"denoiser": denoiser}
    if profile.sample.guidance == "classifier":
        _, files["guide"] = _present(checkout, "train_guide", paths, paths.replicate("guide", budget, best))
    return Candidate(
        name, "generator", stage, md5(denoiser / "weights.safetensors"), files, profile.sample.model_dump(mode="json"),
        {"profile": paths.profile, "budget": budget, "replicate": str(best), "held_out_loss": f"{losses[best]:.6f}"},
        "current")


def _present(checkout: Checkout, name: str, paths: Paths, path: Path) -> tuple[LockedStage, Path]:
    """Return the stage `name` and the place of its output; raises `UserError` where that is not as recorded."""
    stage = checkout.of(name, paths.profile)
    place = checkout.out(stage, path)
    if stage is None or place is None:
        raise UserError(f"{path} is absent or not what dvc.lock records: run `dvc pull` or `dvc repro`.")
    return stage, place
