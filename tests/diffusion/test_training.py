"""Training and sampling on tiny images: same bytes twice, learning, and independence of the batch size."""

import numpy as np
import pytest
import torch
from tests.tiny_generator import PARAMETERS, SAMPLE, squares

from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.errors import UserError

@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))


def test_same_bytes_twice(trained):
    again = training.train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(trained.tensors.values(), again.tensors.values()))
    assert again.history.rows() == trained.history.rows()


def test_it_learns_and_counts(trained):
    losses = trained.history["held_out_loss"]
    assert losses[-1] < losses[0]
    assert trained.history["images_seen"].tolist() == [64, 128, 192, 256]
    assert trained.training_image_passes == 256 and trained.forward_image_passes == 4 * 8 * 6


def test_samples_do_not_depend_on_the_batch_size(trained):
    denoiser = Denoiser(trained.configuration)
    denoiser.load_state_dict(trained.tensors)
    index = plan(squares(), denoiser.configuration.scanners, SAMPLE, "scarce", 0, root_seed=1)
    six, passes, _ = draw(denoiser, None, index, SAMPLE, torch.device("cpu"))
    one, _, _ = draw(denoiser, None, index, SAMPLE.model_copy(update=dict(batch_size=1)), torch.device("cpu"))
    side_by_side, _, _ = draw(denoiser, None, index, SAMPLE.model_copy(update=dict(batch_size=1)),
                              torch.device("cpu"), workers=2)
    assert np.array_equal(side_by_side, one)
    # Convolutions of another batch size may round differently: a grey level at most.
    assert np.abs(six.astype(int) - one.astype(int)).max() <= 1
    assert index["label"].tolist() == ["a"] * 3 + ["b"] * 3 and set(index["scanner"].tolist()) <= {"x", "y"}
    assert passes == 6 * 4 * 2


def test_balanced_draws():
    labels = np.array([0] * 90 + [1] * 10)
    chances = training.draw_chances(labels, class_balance=1.0)
    assert chances[labels == 1].sum().item() == pytest.approx(0.5) and chances.sum().item() == pytest.approx(1.0)
    assert torch.allclose(training.draw_chances(labels, 0.0), torch.full((100,), 0.01, dtype=torch.float64))


def test_faults_are_one_sentence():
    with pytest.raises(UserError, match="image_size 16 is no multiple of 64"):
        network = PARAMETERS.network.model_copy(update=dict(unshuffle=8, channels=[16, 16, 16, 16]))
        training.configure(squares(), PARAMETERS.model_copy(update=dict(network=network)), ())
    with pytest.raises(UserError, match="loss is nan"):
        training.train(squares(), squares(6), PARAMETERS.model_copy(update=dict(learning_rate=float("inf"))), 1, 0,
                       torch.device("cpu"))
    with pytest.raises(UserError, match="no guide was trained"):
        denoiser = Denoiser(training.configure(squares(), PARAMETERS, ()))
        draw(denoiser, None, plan(squares(), (), SAMPLE, "scarce", 0, 1),
             SAMPLE.model_copy(update=dict(guidance="classifier")), torch.device("cpu"))
