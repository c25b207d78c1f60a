"""MLflow's model registry: a version per distinct weights, found again by md5, and named by aliases."""

import json
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from synthplanes.tracking.candidates import Candidate
from synthplanes.tracking.store import Store

MD5 = "md5"
_CODE = {kind: Path(__file__).with_name(f"served_{kind}.py") for kind in ("classifier", "generator")}
_REQUIRED = {"classifier": ("numpy", "pydantic", "safetensors", "timm", "torch"),
             "generator": ("diffusers", "numpy", "pydantic", "safetensors", "torch")}
_DESCRIPTION = {"classifier": "description", "generator": "sample"}


def register(store: Store, candidate: Candidate, run_id: str) -> bool:
    """Make the registry hold `candidate` under its alias; returns whether a new version was needed.

    `run_id` is the run that shows how the model was made.
    """
    from mlflow.exceptions import MlflowException
    client, name = store.client, candidate.name
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
        aliases = {}
    known = [found for found in client.search_model_versions(f"name='{name}'") if found.tags.get(MD5) == candidate.md5]
    # The md5 is tagged by the very call that makes a version, so a version without it cannot be left behind.
    number = known[0].version if known else _new_version(store, candidate, run_id)
    if str(aliases.get(candidate.alias)) != str(number):
        client.set_registered_model_alias(name, candidate.alias, number)
    return not known


def _new_version(store: Store, candidate: Candidate, run_id: str) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # It asks for type hints and an example, in whose place the signature stands.
        warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")
        description = Path(folder) / f"{_DESCRIPTION[candidate.kind]}.json"
        description.write_text(json.dumps(candidate.description, sort_keys=True, indent=2), encoding="utf-8")
        model = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            path=str(model), python_model=str(_CODE[candidate.kind]),
            artifacts={_DESCRIPTION[candidate.kind]: str(description),
                       **{name: str(path) for name, path in candidate.files.items()}},
            signature=ModelSignature(*_signature(candidate)),
            pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED[candidate.kind]])
        where = f"model/{candidate.name}"
        store.client.log_artifacts(run_id, str(model), where)
    source = f"{store.client.get_run(run_id).info.artifact_uri}/{where}"
    made = store.client.create_model_version(candidate.name, source=source, run_id=run_id,
                                             tags={MD5: candidate.md5, **candidate.tags})
    return made.version


def _signature(candidate: Candidate) -> tuple:
    """(inputs, outputs, parameters) of the model."""
    import numpy as np
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))])
    if candidate.kind == "generator":
        return (Schema([TensorSpec(np.dtype(np.int64), (-1,))]), images,
                ParamSchema([ParamSpec("seed", DataType.long, 0)]))
    k, size = len(candidate.description["classes"]), candidate.description["image_size"]
    return (Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size))]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, k))]))
