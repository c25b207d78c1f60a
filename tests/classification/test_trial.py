"""A wrong architecture is named before anything is trained, whatever timm raises."""

import pytest

from synthplanes.classification.trial import try_architectures
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.config import Architecture
from synthplanes.protocol.profiles import read_profile
from tests.small_profile import PARAMS, small_profile


@pytest.mark.parametrize("model, options", [
    ("no_such_model", {}), ("", {}), ("test_resnet", {"num_classes": 3}), ("test_resnet", {"bogus": 1}),
    ("test_resnet", {"drop_rate": 1.0}), ("test_resnet", {"drop_rate": 2.0}),
    ("test_resnet", {"global_pool": ""}), ("test_resnet", {"features_only": True}), ("test_resnet", {"channels": []}),
    ("test_resnet", {"norm_layer": "batchnorm1d"}), ("test_resnet", {"block_args": {"attn_layer": "xx"}}),
    ("test_resnet", {"checkpoint_path": "nowhere"}), ("test_resnet", {"pretrained": True}),
])
@pytest.mark.parametrize("place", ["archs", "audit"])
def test_an_architecture_that_cannot_be_trained_is_named(model, options, place, tmp_path):
    wrong, profile = Architecture(model=model, learning_rate=0.1, options=options), small_profile()
    changed = ({"archs": {"residual": wrong}} if place == "archs" else
               {"audit": profile.audit.model_copy(update={"label_classifier": wrong})})
    where = "archs.residual: " if place == "archs" else "audit.label_classifier: "
    with pytest.raises(UserError) as caught:
        try_architectures(profile.model_copy(update=changed), Paths("tiny", tmp_path))
    assert str(caught.value).startswith(where) and "\n" not in str(caught.value)


def test_absent_pretrained_weights_are_missed_before_training(tmp_path):
    own = Architecture(model="test_resnet", learning_rate=0.1, options={}, pretrained=16 * "0")
    with pytest.raises(UserError, match="archs.residual: .*run `synthplanes pretrained`"):
        try_architectures(small_profile().model_copy(update={"archs": {"residual": own}}), Paths("tiny", tmp_path))


@pytest.mark.parametrize("name", ["phantom", "smoke", "african", "african_cv", "phantom_64"])
def test_the_projects_own_architectures_can_be_trained(name, tmp_path):
    try_architectures(read_profile(name, PARAMS), Paths(name, tmp_path))
