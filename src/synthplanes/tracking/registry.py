"""Register models with MLflow: one version per distinct weights, found again by md5 and named by an alias."""

import tempfile
from importlib.metadata import version
from pathlib import Path

from synthplanes import records
from synthplanes.tracking.candidates import Candidate
from synthplanes.tracking.projection import Run
from synthplanes.tracking.store import Store

MD5 = "md5"
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


def register(store: Store, candidate: Candidate, run: Run) -> bool:
    """Make the registry hold `candidate` under its alias; return whether a new version was needed.

    `run` is the run, already in the store, that shows how the model was made.
    """
    from mlflow.exceptions import MlflowException
    client, name = store.client, candidate.name
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=_PAGE[candidate.kind])
        aliases = {}
    known = [model for model in client.search_model_versions(f"name='{name}'") if model.tags.get(MD5) == candidate.md5]
    # The md5 is tagged by the very call that makes a version, so a version without it cannot be left behind.
    number = known[0].version if known else _new_version(store, candidate, run)
    if str(aliases.get(candidate.alias)) != str(number):
        client.set_registered_model_alias(name, candidate.alias, number)
    return not known


def _new_version(store: Store, candidate: Candidate, run: Run) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    run_id, where = store.known[run.key].info.run_id, f"model/{candidate.name}"
    with tempfile.TemporaryDirectory() as folder:
        description, model = Path(folder) / "description.json", Path(folder) / "model"
        records.write_json(description, candidate.description)
        mlflow.pyfunc.save_model(
            path=str(model), python_model=str(Path(__file__).with_name(f"served_{candidate.kind}.py")),
            artifacts={name: str(path) for name, path in {"description": description, **candidate.files}.items()},
            # The example is compared with the signature and kept as JSON; nothing is predicted.
            signature=ModelSignature(*_signature(candidate)), input_example=_example(candidate),
            pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED])
        store.client.log_artifacts(run_id, str(model), where)
    tags = {name: value for name, value in {**run.tags, **run.origin}.items() if name in _FROM_RUN}
    return store.client.create_model_version(
        candidate.name, source=f"{store.client.get_run(run_id).info.artifact_uri}/{where}", run_id=run_id,
        description=_PAGE[candidate.kind], tags={**tags, **candidate.tags, MD5: candidate.md5}).version


def _signature(candidate: Candidate) -> tuple:
    """Return (inputs, outputs, parameters) of the model."""
    import numpy as np
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))])
    if candidate.kind == "generator":
        return (Schema([TensorSpec(np.dtype(np.int64), (-1,))]), images,
                ParamSchema([ParamSpec("seed", DataType.long, 0)]))
    k, size = len(candidate.description["classes"]), candidate.description["image_size"]
    return (Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size))]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, k))]))


def _example(candidate: Candidate):
    """Return the smallest input that the model answers: one black image, or the first class under the seed 0."""
    import numpy as np
    if candidate.kind == "generator":
        return np.zeros(1, np.int64), {"seed": 0}
    size = candidate.description["image_size"]
    return np.zeros((1, size, size), np.uint8)
