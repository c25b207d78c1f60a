"""Choose models on validation images alone, and register one version per distinct weights (md5) with MLflow."""

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient

from synthplanes import records
from synthplanes.data.selection import read_classes
from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.contrasts import LONGER
from synthplanes.protocol.profiles import Profile, from_subset
from synthplanes.reproduction.checkout import Checkout, LockedStage, md5
from synthplanes.statistics.predictions import Predictions, read_predictions
from synthplanes.statistics.scores import balanced_accuracy_of
from synthplanes.tracking.projection import Run

_ALIASES = {"classifier": "best", "generator": "current"}
_REQUIRED = ("diffusers", "joblib", "numpy", "pandas", "pydantic", "ruamel.yaml", "safetensors", "timm", "torch")
_PAGE = {
    "classifier": "Grey images, uint8 [N, H, W] at the size of the signature, to probabilities [N, classes] in the "
                  "order of `classes` in description.json. `best`: of all arms but the controls the classifier with "
                  "the highest balanced accuracy on validation images; test images had no say.",
    "generator": "Class numbers, int64 [N], to synthetic grey images, uint8 [N, H, W]; the parameter `seed` is the "
                 "root of all noise. `current`: the generator of this checkout, of several the one with the lowest "
                 "held-out loss.",
}
_FROM_RUN = ("stage", "stage_key", "generator", "dvc_outputs", "git_revision", "tracked_at", "dirty")  # tags


@dataclass(frozen=True)
class Candidate:
    """A model to register."""

    name: str                     # of the registered model
    kind: str                     # a key of _ALIASES
    stage: LockedStage            # that trained it
    md5: str                      # of the weights
    files: dict[str, Path]        # its artifacts
    description: dict[str, Any]   # JSON that is stored beside them
    tags: dict[str, str]
    example: np.ndarray           # the smallest input that the model answers
    answer: np.ndarray            # zeros of the shape and type of its answer


def candidates(checkout: Checkout) -> tuple[list[Candidate], list[str]]:
    """Return the models to register, and for every other one a sentence that says why it is not.

    For every profile and architecture this is the classifier with the best balanced accuracy on validation images, and
    for every profile and budget the generator with the lowest held-out loss.
    """
    chosen, left_out = [], []
    for stage in checkout.stages.values():
        if stage.stage in ("predict", "sample") and (protocol := checkout.protocol(stage)):
            profile, paths = from_subset(protocol["parameters"]), Paths(stage.profile)
            for role in profile.archs if stage.stage == "predict" else profile.budgets:
                name = f"{stage.profile}-{role}" + ("-generator" if stage.stage == "sample" else "")
                choose = _best_classifier if stage.stage == "predict" else _best_generator
                try:
                    chosen.append(choose(name, checkout, paths, profile, role))
                except UserError as error:
                    left_out.append(f"{name} is not registered: {error}")
    return chosen, left_out


def _best_classifier(name: str, checkout: Checkout, paths: Paths, profile: Profile, arch: str) -> Candidate:
    _, prepared = _present(checkout, "prepare", paths, paths.prepared)
    _, predicted = _present(checkout, "predict", paths, paths.artifact("predictions"))
    splits, classes = records.read_table(prepared / "splits.csv", records.SPLITS), list(read_classes(prepared))
    ranked = []
    for budget in profile.budgets:
        predictions = read_predictions([(arch, predicted / budget / arch)], classes)
        held_out = splits[(splits["budget"] == budget) & (splits["role"] == "validation")]
        for position, (arm, _, _, replicate, seed) in enumerate(predictions.identities):
            # Classifiers of controls and of the convergence check are not meant for use.
            if ARMS[arm].kind != "control" and arm not in LONGER.values():
                # Budgets have different validation images: the larger set decides, then the score, then the name.
                score = validation_score(predictions, position, held_out)
                ranked.append((-held_out["image_id"].nunique(), -score, arm, replicate, seed, budget))
    _, score, arm, replicate, seed, budget = min(ranked)
    trained = ARMS[arm].stage
    stage, weights = _present(checkout, trained, paths, paths.weights(trained, budget, arch, replicate, arm, seed))
    size = records.read_array(prepared / "development" / "images.npy").shape[1]
    return Candidate(
        name, "classifier", stage, md5(weights), {"weights": weights},
        {"architecture": profile.archs[arch].model_dump(mode="json"), "classes": classes, "image_size": size},
        {"profile": paths.profile, "arch": arch, "budget": budget, "arm": arm, "replicate": str(replicate),
         "seed": str(seed), "validation_balanced_accuracy": f"{-score:.6f}"},
        np.zeros((1, size, size), np.uint8), np.zeros((1, len(classes)), np.float32))


def validation_score(predictions: Predictions, position: int, held_out: pd.DataFrame) -> float:
    """Return the balanced accuracy of one run on its own replicate's validation images, over the classes they hold.

    `held_out` are a budget's validation rows (records.SPLITS), which other folds of a cross-validation test on.
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
    files, size = {"denoiser": denoiser}, records.read_json(denoiser / "config.json")["image_size"]
    if profile.sample.guidance == "classifier":
        _, files["guide"] = _present(checkout, "train_guide", paths, paths.replicate("guide", budget, best))
    return Candidate(
        name, "generator", stage, md5(denoiser / "weights.safetensors"), files, profile.sample.model_dump(mode="json"),
        {"profile": paths.profile, "budget": budget, "replicate": str(best), "held_out_loss": f"{losses[best]:.6f}"},
        np.zeros(1, np.int64), np.zeros((1, size, size), np.uint8))


def _present(checkout: Checkout, name: str, paths: Paths, path: Path) -> tuple[LockedStage, Path]:
    """Return the stage `name` and the place of its output; raises `UserError` where that is not as recorded."""
    stage = checkout.of(name, paths.profile)
    if stage and (place := checkout.out(stage, path)):
        return stage, place
    raise UserError(f"{path} is absent or not what dvc.lock records: run `dvc pull` or `dvc repro`.")


def register(client: MlflowClient, candidate: Candidate, run: Run, run_id: str) -> bool:
    """Make the registry hold `candidate` under its alias; return whether a new version was needed.

    `run` with the id `run_id` in the store shows how the model was made.
    """
    name, alias = candidate.name, _ALIASES[candidate.kind]
    models = client.search_registered_models(f"name='{name}'")
    if not models:
        client.create_registered_model(name, description=_PAGE[candidate.kind])
    known = [old for old in client.search_model_versions(f"name='{name}'") if old.tags.get("md5") == candidate.md5]
    # The md5 is tagged by the very call that makes a version, so a version without it cannot be left behind.
    number = known[0].version if known else _new_version(client, candidate, run, run_id)
    if not models or str(models[0].aliases.get(alias)) != str(number):
        client.set_registered_model_alias(name, alias, number)
    return not known


def _new_version(client: MlflowClient, candidate: Candidate, run: Run, run_id: str) -> str:
    where = f"model/{candidate.name}"
    parameters = {"seed": 0} if candidate.kind == "generator" else None
    with tempfile.TemporaryDirectory() as folder:
        description, model = Path(folder) / "description.json", Path(folder) / "model"
        records.write_json(description, candidate.description)
        files = {"description": description}
        for part, path in candidate.files.items():  # as DVC links them, MLflow would not find them
            files[part] = Path(folder) / "files" / part / path.name
            files[part].parent.mkdir(parents=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, files[part])
        mlflow.pyfunc.save_model(
            path=str(model), python_model=str(Path(__file__).with_name(f"served_{candidate.kind}.py")),
            artifacts={part: str(path) for part, path in files.items()},
            # The example is compared with the signature and kept as JSON; nothing is predicted.
            signature=infer_signature(candidate.example, candidate.answer, parameters),
            input_example=(candidate.example, parameters) if parameters else candidate.example,
            pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED])
        client.log_artifacts(run_id, str(model), where)
    tags = {name: value for name, value in {**run.tags, **run.origin}.items() if name in _FROM_RUN}
    return client.create_model_version(
        candidate.name, source=f"{client.get_run(run_id).info.artifact_uri}/{where}", run_id=run_id,
        description=_PAGE[candidate.kind], tags={**tags, **candidate.tags, "md5": candidate.md5}).version
