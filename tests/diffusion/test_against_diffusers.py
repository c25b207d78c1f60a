"""The solvers against diffusers' own schedulers on the same noise and the same denoiser."""

import torch

from synthplanes.compute.torchvision_operators import declare_missing

declare_missing()

from diffusers import (  # noqa: E402
    EDMDPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
)

from synthplanes.diffusion.solvers import ancestral, heun, multistep, noise_levels  # noqa: E402


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.tanh(x / (1 + sigma ** 2)) * 0.7  # any smooth function will do


def test_multistep_is_dpm_solver():
    scheduler = EDMDPMSolverMultistepScheduler(
        sigma_min=0.02, sigma_max=40.0, sigma_data=0.5, rho=7.0, solver_order=2, algorithm_type="dpmsolver++",
        solver_type="midpoint", final_sigmas_type="zero", lower_order_final=True, euler_at_final=True)
    scheduler.set_timesteps(12)
    x = 40.0 * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    ours = multistep(denoise, x, noise_levels(12, 0.02, 40.0, 7.0))
    theirs = x.clone()
    for index, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[index]
        # diffusers turns the network's output F into D = c_skip x + c_out F: give it the F that yields our D.
        c_skip = 0.25 / (sigma ** 2 + 0.25)
        c_out = sigma * 0.5 / (sigma ** 2 + 0.25) ** 0.5
        output = (denoise(theirs, float(sigma)) - c_skip * theirs) / c_out
        theirs = scheduler.step(output, t, theirs).prev_sample
    assert torch.allclose(ours, theirs, atol=2e-3), (ours - theirs).abs().max()


def run(scheduler, x: torch.Tensor, **step) -> torch.Tensor:
    """diffusers' loop with the noise estimate (x - D) / sigma that our denoiser implies."""
    x = x.clone()
    for number, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)  # sets the scheduler's step
        sigma = float(scheduler.sigmas[number])
        x = scheduler.step((x - denoise(x, sigma)) / sigma, t, x, **step).prev_sample
    return x


def test_heun_is_heun():
    scheduler = HeunDiscreteScheduler(beta_schedule="scaled_linear", prediction_type="epsilon")
    scheduler.set_timesteps(10)
    levels = [float(sigma) for sigma in scheduler.sigmas[::2]]  # diffusers lists each inner level twice
    levels = levels if levels[-1] == 0 else [*levels, 0.0]
    x = levels[0] * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(heun(denoise, x, levels), run(scheduler, x), atol=1e-4)


def test_ancestral_is_euler_ancestral():
    scheduler = EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear", prediction_type="epsilon")
    scheduler.set_timesteps(25)
    levels = scheduler.sigmas.tolist()
    x = levels[0] * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(3)
    ours = ancestral(denoise, x, levels, lambda: torch.randn(x.shape, generator=generator))
    assert torch.allclose(ours, run(scheduler, x, generator=torch.Generator().manual_seed(3)), atol=1e-4)
