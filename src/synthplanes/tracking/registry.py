"""MLflow's model registry: a version per distinct weights, found again by md5, and named by aliases."""

import json
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from synthplanes.tracking.candidates import Candidate
from synthplanes.tracking.projection import Run
from synthplanes.tracking.store import Store

MD5 = "md5"
_CODE = {kind: Path(__file__).with_name(f"served_{kind}.py") for kind in ("classifier", "generator")}
_REQUIRED = {"classifier": ("numpy", "pydantic", "safetensors", "timm", "torch"),
             "generator": ("diffusers", "numpy", "pydantic", "safetensors", "torch")}
_DESCRIPTION = {"classifier": "description", "generator": "sample"}
_SAID = {
    "classifier": "Grey images, uint8 [N, H, W] at the size of the signature, to probabilities [N, classes] in the "
                  "order of `classes` in description.json. "
                  "`best`: of all arms but the controls the classifier with the highest balanced accuracy on "
                  "validation images; test images had no say.",
    "generator": "Class numbers, int64 [N], to synthetic grey images, uint8 [N, H, W]; the parameter `seed` is the "
                 "root of all noise. "
                 "`current`: the checkout's generator, of several the one with the lowest held-out loss.",
}
_FROM_RUN = ("stage", "cell_key", "generator", "dvc_outputs", "git_revision", "tracked_at", "dirty")  # tags


def register(store: Store, candidate: Candidate, run: Run) -> bool:
    """Make the registry hold `candidate` under its alias; returns whether a new version was needed.

    `run` is the run, already in the store, that shows how the model was made.
    """
    from mlflow.exceptions import MlflowException
    client, name = store.client, candidate.name
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=_SAID[candidate.kind])
        aliases = {}
    known = [found for found in client.search_model_versions(f"name='{name}'") if found.tags.get(MD5) == candidate.md5]
    # The md5 is tagged by the very call that makes a version, so a version without it cannot be left behind.
    number = known[0].version if known else _new_version(store, candidate, run)
    if str(aliases.get(candidate.alias)) != str(number):
        client.set_registered_model_alias(name, candidate.alias, number)
    return not known


def _new_version(store: Store, candidate: Candidate, run: Run) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    run_id = store.known[run.key].info.run_id
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # It asks for type hints, in whose place the signature stands.
        warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")
        description = Path(folder) / f"{_DESCRIPTION[candidate.kind]}.json"
        description.write_text(json.dumps(candidate.description, sort_keys=True, indent=2), encoding="utf-8")
        model = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            path=str(model), python_model=str(_CODE[candidate.kind]),
            artifacts={_DESCRIPTION[candidate.kind]: str(description),
                       **{name: str(path) for name, path in candidate.files.items()}},
            # The example is compared with the signature and kept as JSON; nothing is predicted.
            signature=ModelSignature(*_signature(candidate)), input_example=_example(candidate),
            pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED[candidate.kind]])
        where = f"model/{candidate.name}"
        store.client.log_artifacts(run_id, str(model), where)
    tags = {**run.tags, **run.origin}
    source = f"{store.client.get_run(run_id).info.artifact_uri}/{where}"
    made = store.client.create_model_version(candidate.name, source=source, run_id=run_id,
                                             description=_SAID[candidate.kind], tags={
                                                 **{name: tags[name] for name in _FROM_RUN if name in tags},
                                                 **candidate.tags, MD5: candidate.md5})
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


def _example(candidate: Candidate):
    """The smallest input that the model answers: one black image, or the first class under the seed 0."""
    import numpy as np
    if candidate.kind == "generator":
        return np.zeros(1, np.int64), {"seed": 0}
    size = candidate.description["image_size"]
    return np.zeros((1, size, size), np.uint8)
