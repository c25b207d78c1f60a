"""Begin a generator from another one: names, digests and origins."""

from dataclasses import replace

import pytest
import torch

from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import Denoiser, keep_generator, load_pretrained, write_denoiser
from synthplanes.errors import UserError
from tests.tiny_generator import PARAMETERS, squares, task

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators")
    trained = training.train(replace(task(images_seen=64), learned_from="phantom, scarce"), CPU)
    write_denoiser(folder / "first", trained.denoiser.configuration, trained.weights)
    return folder / "pretrained", keep_generator(folder / "first", folder / "pretrained"), trained


def other_classes() -> LabelledImages:
    return replace(squares(), classes=("b", "c"))


def test_weights_are_copied_and_names_keep_their_embedding(kept):
    folder, digest, first = kept
    torch.manual_seed(5)
    denoiser = Denoiser(training.configure(other_classes(), PARAMETERS, ("y", "z")))
    fresh = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    assert load_pretrained(denoiser, digest, folder) == ("phantom, scarce",)
    state = denoiser.state_dict()
    label, scanner = "unet.class_embedding.label.weight", "unet.class_embedding.scanner.weight"
    assert torch.equal(state[label][0], first.weights[label][1])       # class b
    assert torch.equal(state[label][1], fresh[label][1])               # class c, which the other one does not know
    assert torch.equal(state[label][2], first.weights[label][2])       # unknown
    assert torch.equal(state[scanner][0], first.weights[scanner][1])   # scanner y
    assert all(torch.equal(state[name], first.weights[name]) for name in state if name not in (label, scanner))


def test_origins_are_written_down(kept):
    folder, digest, _ = kept
    own = replace(task(pretrained=digest, images_seen=32), train_set=other_classes(), held_out=other_classes(),
                  learned_from="african_planes, scarce", pretrained=folder)
    trained = training.train(own, CPU)
    assert trained.denoiser.configuration.learned_from == ("phantom, scarce", "african_planes, scarce")


def test_other_bytes_and_other_networks_are_refused(kept):
    folder, digest, _ = kept
    denoiser = Denoiser(training.configure(squares(), PARAMETERS, ()))
    with pytest.raises(UserError, match="does not hold the files that train_diffusion.pretrained"):
        load_pretrained(denoiser, "0" * 16, folder)
    network = PARAMETERS.network.model_copy(update=dict(channels=[32, 32]))
    wider = Denoiser(training.configure(squares(), PARAMETERS.model_copy(update=dict(network=network)), ()))
    with pytest.raises(UserError, match="is another network"):
        load_pretrained(wider, digest, folder)
    (folder / digest / "weights.safetensors").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="does not hold the files"):
        load_pretrained(denoiser, digest, folder)
