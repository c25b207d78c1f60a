"""Export a generator as a folder that diffusers alone loads and samples from.

Two features that diffusers' `UNet2DModel` lacks are folded into its weights. The sum of the class's and the scanner's
embedding becomes one row per pair. Our noise level c = 100 (ln sigma / 4 + 2) inside sinusoids of frequency w becomes
Fourier features of ln sigma at 25 w / 2 pi: sin and cos of 25 w ln sigma + 200 w are sums of those of 25 w ln sigma,
and the first linear layer takes the coefficients.
"""

import math
from pathlib import Path

import torch

from synthplanes import records
from synthplanes.diffusion.denoiser import SIGMA_D, Denoiser, read_denoiser
from synthplanes.protocol.config import Sample

FOLDED = {"time_proj.weight", "time_embedding.linear_1.weight", "class_embedding.weight"}


def export(folder: Path, out: Path, sample: Sample) -> None:
    """Write `out`/unet, `out`/scheduler (DPM-Solver++ at the levels of `sample`) and `out`/conditions.json.

    conditions.json holds the row of every class and scanner ('' where unknown), the pixels folded into channels, and
    the mean and standard deviation that undo the normalisation.
    """
    from diffusers import EDMDPMSolverMultistepScheduler
    denoiser = read_denoiser(folder)
    configuration, out = denoiser.configuration, Path(out)
    plain_unet(denoiser).save_pretrained(out / "unet", safe_serialization=True)
    EDMDPMSolverMultistepScheduler(
        sigma_min=sample.sigma_min, sigma_max=sample.sigma_max, sigma_data=SIGMA_D, rho=sample.rho, solver_order=2,
        algorithm_type="dpmsolver++", solver_type="midpoint", final_sigmas_type="zero",
        euler_at_final=True).save_pretrained(out / "scheduler")
    scanners = [*configuration.scanners, ""]
    records.write_json(out / "conditions.json", {
        "rows": [{"class": name, "scanner": scanner, "row": number * len(scanners) + place}
                 for number, name in enumerate(configuration.classes) for place, scanner in enumerate(scanners)],
        "unshuffle": configuration.unshuffle, "image_size": configuration.image_size, "steps": sample.steps,
        "data_mean": configuration.data_mean, "data_deviation": configuration.data_deviation})


@torch.no_grad()
def plain_unet(denoiser: Denoiser):
    """Return diffusers' UNet2DModel with time embedding 'fourier': (x, sigma, row) -> F(x; sigma, row) / sigma."""
    from diffusers import UNet2DModel
    ours, embedding = denoiser.unet, denoiser.unet.class_embedding
    classes, scanners = embedding.label.num_embeddings - 1, embedding.scanner.num_embeddings
    own = {name: value for name, value in ours.config.items() if not name.startswith("_")}
    plain = UNet2DModel(**own | {"time_embedding_type": "fourier", "num_class_embeds": classes * scanners})
    state, source = plain.state_dict(), ours.state_dict()
    for name in state.keys() - FOLDED:
        state[name].copy_(source[name])
    pairs = embedding.label.weight[:classes, None] + embedding.scanner.weight[None]
    state["class_embedding.weight"].copy_(pairs.reshape(classes * scanners, -1))

    width = ours.config.block_out_channels[0]
    half = width // 2
    w = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / (half - ours.config.freq_shift))
    of_cos, of_sin = source["time_embedding.linear_1.weight"].double().chunk(2, dim=1)  # the cosines come first
    cos, sin = torch.cos(200 * w), torch.sin(200 * w)
    state["time_proj.weight"].zero_()[:half] = 25 * w / (2 * math.pi)
    first = state["time_embedding.linear_1.weight"].zero_()  # columns: `width` sines, then `width` cosines
    first[:, :half] = of_sin * cos - of_cos * sin
    first[:, width:width + half] = of_cos * cos + of_sin * sin
    plain.load_state_dict(state)
    return plain.eval()
