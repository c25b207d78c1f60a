"""Solve the probability-flow equation dx/dsigma = (x - D(x; sigma)) / sigma, from noise to images.

A `denoise` is any function (x [N, ...], sigma float) -> D(x; sigma) of the same shape. `ancestral` solves the
stochastic equation instead, and only it calls `noise`.
"""

import math
from collections.abc import Callable

import torch

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
Noise = Callable[[], torch.Tensor]  # standard normal numbers of x's shape, new ones at every call


def noise_levels(steps: int, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """Return `steps` decreasing noise levels from sigma_max to sigma_min, then 0 (Karras 2022, equation 5)."""
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]


def multistep(denoise: Denoise, x: torch.Tensor, levels: list[float], noise: Noise | None = None) -> torch.Tensor:
    """Integrate with DPM-Solver++(2M) (Lu 2022, algorithm 2): second order, one evaluation a step.

    `x` is drawn at levels[0]; with the last level 0 the result is the last denoised estimate.
    """
    before, h_before = None, math.nan
    for sigma, sigma_next in zip(levels, levels[1:]):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)  # the step in lambda = -log sigma
        estimate = denoised
        if before is not None:
            r = h_before / h
            estimate = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * before
        x = (sigma_next / sigma) * x - math.expm1(-h) * estimate
        before, h_before = denoised, h
    return x


def heun(denoise: Denoise, x: torch.Tensor, levels: list[float], noise: Noise | None = None) -> torch.Tensor:
    """Integrate with Heun's second-order method (Karras 2022, algorithm 1): the reference, two evaluations a step."""
    for sigma, sigma_next in zip(levels, levels[1:]):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (sigma_next - sigma) * slope
        if sigma_next == 0:
            return euler
        slope_next = (euler - denoise(euler, sigma_next)) / sigma_next
        x = x + (sigma_next - sigma) * (slope + slope_next) / 2
    return x


def ancestral(denoise: Denoise, x: torch.Tensor, levels: list[float], noise: Noise) -> torch.Tensor:
    """Sample ancestrally (Ho 2020, algorithm 2, in Karras' variables): first order, a reference that needs many steps.

    Each step draws from q(x' | x, D(x)), a normal of mean D + (s'/s)^2 (x - D) and variance s'^2 (s^2 - s'^2) / s^2.
    """
    for sigma, sigma_next in zip(levels, levels[1:]):
        denoised = denoise(x, sigma)
        ratio = (sigma_next / sigma) ** 2
        x = denoised + ratio * (x - denoised)
        if sigma_next > 0:
            x = x + sigma_next * math.sqrt(1 - ratio) * noise()
    return x


SOLVERS = {"multistep": multistep, "heun": heun, "ancestral": ancestral}
