"""A generator that begins from another one: names, digests and origins."""

import pytest
import torch
from tests.diffusion.test_training import PARAMETERS, squares

from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import Denoiser, read_configuration, write_denoiser
from synthplanes.diffusion.warm_start import adopt, begin_from
from synthplanes.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators")
    found = training.train(squares(), squares(6), PARAMETERS, 1, 0, CPU, origin="phantom, scarce")
    write_denoiser(folder / "first", found.configuration, found.tensors)
    return folder / "adopted", adopt(folder / "first", folder / "adopted"), found


def other_classes() -> LabelledImages:
    found = squares()
    return LabelledImages(found.images, found.labels, found.scanners, found.image_ids, ("b", "c"))


def test_weights_are_taken_over_and_names_keep_their_embedding(adopted):
    folder, digest, first = adopted
    torch.manual_seed(5)
    denoiser = Denoiser(training.configure(other_classes(), PARAMETERS, ("y", "z")))
    fresh = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    assert begin_from(denoiser, digest, folder) == ("phantom, scarce",)
    state = denoiser.state_dict()
    label, scanner = "unet.class_embedding.label.weight", "unet.class_embedding.scanner.weight"
    assert torch.equal(state[label][0], first.tensors[label][1])       # class b
    assert torch.equal(state[label][1], fresh[label][1])               # class c, never seen before
    assert torch.equal(state[label][2], first.tensors[label][2])       # unknown
    assert torch.equal(state[scanner][0], first.tensors[scanner][1])   # scanner y
    assert all(torch.equal(state[name], first.tensors[name]) for name in state if name not in (label, scanner))


def test_what_was_learned_from_is_written_down(adopted, tmp_path):
    folder, digest, _ = adopted
    warm = PARAMETERS.model_copy(update=dict(warm_start=digest, images_seen=32))
    found = training.train(other_classes(), other_classes(), warm, 1, 0, CPU, origin="african_planes, scarce",
                           adopted=folder)
    write_denoiser(tmp_path, found.configuration, found.tensors)
    assert read_configuration(tmp_path).learned_from == ("phantom, scarce", "african_planes, scarce")


def test_other_bytes_and_other_networks_are_refused(adopted, tmp_path):
    folder, digest, _ = adopted
    denoiser = Denoiser(training.configure(squares(), PARAMETERS, ()))
    with pytest.raises(UserError, match="does not hold the files that train_diffusion.warm_start"):
        begin_from(denoiser, "0" * 16, folder)
    network = PARAMETERS.network.model_copy(update=dict(channels=[32, 32]))
    wider = Denoiser(training.configure(squares(), PARAMETERS.model_copy(update=dict(network=network)), ()))
    with pytest.raises(UserError, match="is another network"):
        begin_from(wider, digest, folder)
    (folder / digest / "weights.safetensors").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="does not hold the files"):
        begin_from(denoiser, digest, folder)
