"""What plain diffusers draws from an exported folder is what we draw from the same noise."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from synthplanes import records
from synthplanes.diffusion.denoiser import N_AUGMENTATIONS, Conditions, Configuration, Denoiser, write_denoiser
from synthplanes.diffusion.export import export
from synthplanes.diffusion.solvers import multistep, noise_levels
from tests.tiny_generator import SAMPLE

CONFIGURATION = Configuration(16, 2, (32, 64), 1, (1,), 0.1, ("a", "b", "c"), ("x", "y"), -0.6, 0.4)
SETTINGS = SAMPLE.model_copy(update=dict(steps=12, sigma_max=20.0, sigma_min=0.02))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    denoiser = Denoiser(CONFIGURATION).eval()
    with torch.no_grad():  # its last convolution begins near zero; conditions must matter here
        denoiser.unet.conv_out.weight.mul_(20)
        denoiser.unet.class_embedding.label.weight.mul_(3)
    write_denoiser(folder / "ours", CONFIGURATION, denoiser.state_dict())
    export(folder / "ours", folder / "plain", SETTINGS)
    return denoiser, folder / "plain"


@torch.no_grad()
def test_same_images_from_the_same_noise(exported):
    denoiser, folder = exported
    conditions = records.read_json(folder / "conditions.json")
    noise = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    labels, scanners = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2])
    told = Conditions(labels, scanners, torch.zeros(3, N_AUGMENTATIONS))
    levels = noise_levels(SETTINGS.steps, SETTINGS.sigma_min, SETTINGS.sigma_max, SETTINGS.rho)
    ours = multistep(lambda x, sigma: denoiser(x, torch.full((3,), sigma), told), levels[0] * noise, levels)

    # From here on only diffusers and torch.
    from diffusers import EDMDPMSolverMultistepScheduler, UNet2DModel
    unet = UNet2DModel.from_pretrained(folder / "unet")
    scheduler = EDMDPMSolverMultistepScheduler.from_pretrained(folder / "scheduler")
    row = {(one["class"], one["scanner"]): one["row"] for one in conditions["rows"]}
    rows = torch.tensor([row["a", "y"], row["b", "x"], row["c", ""]])
    scheduler.set_timesteps(conditions["steps"])
    x = scheduler.sigmas[0] * functional.pixel_unshuffle(noise, conditions["unshuffle"])
    for sigma, t in zip(scheduler.sigmas, scheduler.timesteps):
        f = sigma * unet(scheduler.scale_model_input(x, t), sigma, rows).sample
        x = scheduler.step(f, t, x).prev_sample
    theirs = functional.pixel_shuffle(x, conditions["unshuffle"])
    assert torch.allclose(ours, theirs, atol=5e-3), (ours - theirs).abs().max()
    assert ours.std() > 0.05 and not torch.allclose(ours[0], ours[1], atol=0.05)


def test_the_folder_says_how_to_undo_the_normalisation(exported):
    _, folder = exported
    conditions = records.read_json(folder / "conditions.json")
    assert (conditions["data_mean"], conditions["data_deviation"], conditions["image_size"]) == (-0.6, 0.4, 16)
    assert [one["row"] for one in conditions["rows"]] == list(range(9))
    assert np.all([one["scanner"] in ("x", "y", "") for one in conditions["rows"]])
