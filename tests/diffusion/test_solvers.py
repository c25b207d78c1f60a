"""The solvers against a Gaussian mixture, whose score and whose samples are known in closed form."""

import math

import pytest
import torch

from synthplanes.diffusion.solvers import ancestral, heun, multistep, noise_levels

MEANS, DEVIATION = torch.tensor([-1.0, 1.5]), 0.2


def mixture_denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[y | x] for y from an even mixture of two normals (each posterior mean is linear in x)."""
    variance = DEVIATION ** 2 + sigma ** 2
    responsibility = (-(x[..., None] - MEANS) ** 2 / (2 * variance)).softmax(-1)
    posterior = MEANS + DEVIATION ** 2 / variance * (x[..., None] - MEANS)
    return (responsibility * posterior).sum(-1)


def gaussian_denoise(mean: float, deviation: float):
    return lambda x, sigma: mean + deviation ** 2 / (deviation ** 2 + sigma ** 2) * (x - mean)


def gaussian_flow(x: torch.Tensor, sigma: float, mean: float, deviation: float) -> torch.Tensor:
    """The exact probability flow of a normal from noise level sigma to 0."""
    return mean + (x - mean) * deviation / math.sqrt(deviation ** 2 + sigma ** 2)


def start(n: int = 256) -> torch.Tensor:
    return 20.0 * torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def error(solver, steps: int) -> float:
    # To a small positive level, so that the order of the method is seen and not its last step.
    levels = noise_levels(steps, 0.5, 20.0, 7.0)[:-1]
    x = start()
    mean, deviation = 0.3, 0.5
    exact = mean + (x - mean) * math.sqrt((deviation ** 2 + 0.25) / (deviation ** 2 + 400))
    return (solver(gaussian_denoise(mean, deviation), x, levels) - exact).abs().max().item()


@pytest.mark.parametrize("solver", [multistep, heun])
def test_second_order_convergence(solver):
    errors = [error(solver, steps) for steps in (16, 32, 64)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    assert all(1.7 < order < 2.6 for order in orders), (errors, orders)


@pytest.mark.parametrize("solver", [multistep, heun])
def test_ends_where_the_exact_flow_ends(solver):
    x = start()
    found = solver(gaussian_denoise(-0.4, 0.5), x, noise_levels(60, 0.002, 20.0, 7.0))
    assert torch.allclose(found, gaussian_flow(x, 20.0, -0.4, 0.5), atol=5e-3)


def test_multistep_draws_the_mixture():
    n = 20_000
    x = 40.0 * torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = multistep(mixture_denoise, x, noise_levels(30, 0.01, 40.0, 7.0))
    right = found > 0.25
    assert abs(right.double().mean().item() - 0.5) < 0.02
    for mean, part in zip(MEANS.tolist(), (found[~right], found[right])):
        assert abs(part.mean().item() - mean) < 0.02
        assert abs(part.std().item() - DEVIATION) < 0.02


def test_ancestral_draws_the_mixture():
    n, generator = 10_000, torch.Generator().manual_seed(4)
    draw = lambda: torch.randn(n, generator=generator, dtype=torch.float64)  # noqa: E731
    found = ancestral(mixture_denoise, 40.0 * draw(), noise_levels(400, 0.01, 40.0, 7.0), draw)
    right = found > 0.25
    assert abs(right.double().mean().item() - 0.5) < 0.02
    for mean, part in zip(MEANS.tolist(), (found[~right], found[right])):
        assert abs(part.mean().item() - mean) < 0.02 and abs(part.std().item() - DEVIATION) < 0.02


def test_noise_levels_fall_to_zero():
    levels = noise_levels(18, 0.02, 40.0, 7.0)
    assert len(levels) == 19 and levels[0] == pytest.approx(40.0) and levels[-2] == pytest.approx(0.02)
    assert levels[-1] == 0 and all(a > b for a, b in zip(levels, levels[1:]))
