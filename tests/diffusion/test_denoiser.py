"""The preconditioned denoiser: shapes, limits, normalisation, files, and what its conditions change."""

import numpy as np
import pytest
import torch

from synthplanes.diffusion.batches import augment
from synthplanes.diffusion.denoiser import (
    N_AUGMENTATIONS,
    Conditions,
    Configuration,
    Denoiser,
    loss_per_image,
    read_denoiser,
    write_denoiser,
)
from synthplanes.errors import UserError

CONFIGURATION = Configuration(16, 2, (16, 32), 1, (1,), 0.0, ("a", "b"), ("x",), -0.6, 0.4)


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return Denoiser(CONFIGURATION).eval()


def conditions(label=0, scanner=0, n=2):
    return Conditions(torch.full((n,), label), torch.full((n,), scanner), torch.zeros(n, N_AUGMENTATIONS))


@torch.no_grad()
def test_without_noise_it_returns_its_input(denoiser):
    x = torch.randn(2, 1, 16, 16)
    assert torch.allclose(denoiser(x, torch.full((2,), 1e-4), conditions()), x, atol=1e-3)


@torch.no_grad()
def test_every_condition_is_heard(denoiser):
    x, sigma = torch.randn(2, 1, 16, 16), torch.ones(2)
    plain = denoiser(x, sigma, conditions())
    augmented = conditions()._replace(augmentation=torch.ones(2, N_AUGMENTATIONS))
    for other in (conditions(label=1), conditions(label=2), conditions(scanner=1), augmented):
        assert not torch.equal(plain, denoiser(x, sigma, other))


def test_normalisation_and_back(denoiser):
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    assert torch.allclose(denoiser.restore(denoiser.normalise(images)), images, atol=1e-6)


@torch.no_grad()
def test_loss_weight_of_a_known_denoiser():
    clean, noise, sigma = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), torch.tensor([0.5, 2.0])
    loss = loss_per_image(lambda x, s, c: x, clean, noise, sigma, None)  # D = x: the error is sigma^2
    expected = (sigma ** 2 + 0.25) / (sigma * 0.5) ** 2 * sigma ** 2
    assert torch.allclose(loss, expected)


def test_files(denoiser, tmp_path):
    write_denoiser(tmp_path, CONFIGURATION, denoiser.state_dict())
    again = read_denoiser(tmp_path)
    assert again.configuration == CONFIGURATION
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), denoiser.state_dict().values()))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        read_denoiser(tmp_path)


def test_augmentation_without_chance_changes_nothing_and_says_so():
    images = torch.rand(4, 1, 16, 16) * 2 - 1
    moved, parameters = augment(images, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(moved, images) and not parameters.any()
    moved, parameters = augment(images, 1.0, torch.Generator().manual_seed(0))
    assert moved.min() >= -1 and moved.max() <= 1 and parameters.shape == (4, N_AUGMENTATIONS)
    assert np.all(parameters.numpy() != 0)
