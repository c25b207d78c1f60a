"""The multistep solver against diffusers' own DPM-Solver++ on the same noise and the same denoiser."""

import torch

from synthplanes.torchvision_operators import declare_missing

declare_missing()

from diffusers import EDMDPMSolverMultistepScheduler  # noqa: E402

from synthplanes.diffusion.solvers import multistep, noise_levels  # noqa: E402


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.tanh(x / (1 + sigma ** 2)) * 0.7  # any smooth function will do


def test_same_trajectory_as_diffusers():
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
