"""Draw from a tiny denoiser: the list of images, every solver, and independence of batches and workers."""

import numpy as np
import pytest
import torch

from synthplanes.compute.checkpoints import Checkpoints
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.sampling import Sampler, list_images, read_sampler
from synthplanes.diffusion.training import configure
from synthplanes.errors import UserError
from synthplanes.records import SYNTHETIC
from tests.tiny_generator import PARAMETERS, SAMPLE, squares

CPU = torch.device("cpu")
INDEX = list_images(squares(), ("x", "y"), 3, "scarce", 0, root_seed=1)


def network(seed: int = 3) -> Denoiser:
    torch.manual_seed(seed)
    return Denoiser(configure(squares(), PARAMETERS, ("x", "y")))


def sampler(guide=None, workers: int = 1, **changes) -> Sampler:
    torch.set_num_threads(1)
    return Sampler(network(), guide, SAMPLE.model_copy(update=changes), CPU, workers)


def test_the_list_names_class_scanner_and_seed():
    assert INDEX["label"].tolist() == ["a"] * 3 + ["b"] * 3 and list(INDEX.columns) == list(SYNTHETIC.columns)
    assert set(INDEX["scanner"]) <= {"x", "y", ""} and INDEX["seed"].nunique() == 6
    only_x = list_images(squares(), ("x",), 40, "scarce", 0, root_seed=1)
    assert set(only_x["scanner"]) == {"x", ""}  # a scanner that the denoiser does not know is ''
    assert set(list_images(squares(), (), 3, "scarce", 0, root_seed=1)["scanner"]) == {""}


def test_images_do_not_depend_on_batches_or_workers():
    six, one, parallel = (sampler(**changes).draw(INDEX) for changes in (
        {}, dict(batch_size=1), dict(batch_size=1, workers=2)))
    assert np.array_equal(parallel.images, one.images)
    # Convolutions of another batch size may round differently: a grey level at most.
    assert np.abs(six.images.astype(int) - one.images.astype(int)).max() <= 1
    assert six.images.shape == (6, 16, 16) and six.passes == {"forward": 6 * 4 * 2}


def test_every_solver_and_the_early_average_draw():
    for solver, passes in (("multistep", 4), ("heun", 7), ("ancestral", 4)):
        assert sampler(solver=solver, guidance="none").draw(INDEX).passes["forward"] == 6 * passes
    assert sampler(network(4), guidance="auto").draw(INDEX).passes["forward"] == 6 * 4 * 2


def test_kept_batches_are_not_drawn_again(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "sampling")

    def draw():
        return sampler(batch_size=2).draw(INDEX, checkpoints.piece)

    first = draw()
    monkeypatch.setattr(Denoiser, "forward", lambda *_: pytest.fail("drawn again"))
    again = draw()
    assert np.array_equal(first.images, again.images) and first[1:] == again[1:]


def test_no_image_is_an_empty_set():
    assert sampler().draw(INDEX.iloc[:0]).images.shape == (0, 16, 16)


def test_faults_are_one_sentence(tmp_path):
    for guidance, fault in (("classifier", "guide/config.json does not exist: run the stage that writes it"),
                            ("auto", "no early average was kept")):
        with pytest.raises(UserError, match=fault):
            read_sampler(tmp_path, tmp_path / "guide", SAMPLE.model_copy(update=dict(guidance=guidance)), CPU)
    with pytest.raises(UserError, match="is not finite"):
        sampler(guidance_scale=float("inf")).draw(INDEX)
