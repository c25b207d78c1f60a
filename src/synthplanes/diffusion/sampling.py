"""Drawing the synthetic set: one noise generator per image index, so the noise knows nothing of batches or workers.

The size of a batch can still change the last bits of a sum, and with them one grey level of a pixel.
"""

import joblib
import numpy as np
import torch

from synthplanes import records, seeds
from synthplanes.data.images import to_bytes
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guidance import GuidedDenoiser
from synthplanes.diffusion.guide import Guide
from synthplanes.diffusion.solvers import multistep, noise_levels
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.scratch import NothingKept
from synthplanes.sections import Sample


def plan(train_set: LabelledImages, told: tuple[str, ...], parameters: Sample, budget: str, replicate: int,
         root_seed: int) -> records.Table:
    """Which images to draw (records.SYNTHETIC): `images_per_class` of every class, class after class.

    `told` are the scanners that the denoiser knows; a scanner it was never told of is '', as is every one where
    it knows none. scanners 'as_in_class' draws each image's scanner from the class's own training images,
    'uniform' from all that the denoiser knows (so unseen combinations are drawn).
    """
    rows = []
    for number, name in enumerate(train_set.classes):
        own = [name if name in told else "" for name in train_set.scanners[train_set.labels == number].tolist()]
        choice = told if parameters.scanners == "uniform" else own
        for _ in range(parameters.images_per_class):
            index = len(rows)
            draw = seeds.generator(root_seed, "synthetic scanner", replicate, index)
            rows.append(dict(image_id=f"s{replicate}-{index:06d}", label=name, budget=budget, replicate=replicate,
                             scanner=choice[int(draw.integers(len(choice)))] if choice else "",
                             seed=seeds.derive(root_seed, "sampling noise", replicate, index)))
    return records.Table.of_rows(records.SYNTHETIC, rows)


def draw(denoiser: Denoiser, guide: Guide | None, index: records.Table, parameters: Sample, device: torch.device,
         workers: int = 1, scratch: NothingKept = NothingKept()) -> tuple[np.ndarray, int, int]:
    """The planned images, uint8 [N, H, W], and the image passes: forward only, and there and back for a gradient.

    `workers` batches are drawn side by side with one CPU thread each (one at a time on a GPU); that changes no byte.
    Batches that `scratch` holds are not drawn again.
    """
    if parameters.guidance == "classifier" and guide is None:
        raise UserError("sample.guidance is 'classifier' but no guide was trained: run train_guide first.")
    denoiser = denoiser.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    guide = guide.to(device).eval().requires_grad_(False) if guide is not None else None
    size, forward, gradient = denoiser.configuration.image_size, 0, 0
    images = np.empty((len(index), size, size), dtype=np.uint8)
    starts = range(0, len(index), parameters.batch_size)
    batches = [index.select(np.arange(start, min(start + parameters.batch_size, len(index)))) for start in starts]
    progress = Progress("sampling", len(index), "images")
    progress(0)
    # Threads, not processes: torch holds no lock while it computes, and nothing has to be imported or copied again.
    done = joblib.Parallel(n_jobs=workers if device.type == "cpu" else 1, backend="threading", return_as="generator")(
        joblib.delayed(draw_batch)(denoiser, guide, rows, parameters, device, scratch) for rows in batches)
    for start, rows, (drawn, batch_forward, batch_gradient) in zip(starts, batches, done):
        images[start:start + len(rows)] = drawn
        forward, gradient = forward + batch_forward, gradient + batch_gradient
        progress(start + len(rows))
    return images, forward, gradient


def draw_batch(denoiser: Denoiser, guide: Guide | None, rows: records.Table, parameters: Sample, device: torch.device,
               scratch: NothingKept) -> tuple[np.ndarray, int, int]:
    """One batch of `draw`, taken from `scratch` where that holds it."""
    name = rows["image_id"][0]
    if kept := scratch.read_state(name):
        return kept[0]["images"].numpy(), kept[1]["forward"], kept[1]["gradient"]
    torch.set_num_threads(1)  # holds for the calling thread
    configuration = denoiser.configuration
    label = {name: number for number, name in enumerate(configuration.classes)}
    scanner = {name: number for number, name in enumerate(configuration.scanners)}
    conditions = Conditions(torch.tensor([label[name] for name in rows["label"].tolist()]),
                            torch.tensor([scanner.get(name, len(scanner)) for name in rows["scanner"].tolist()]),
                            torch.zeros(len(rows), N_AUGMENTATIONS)).to(device)
    size = configuration.image_size
    noise = torch.cat([torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(seed))
                       for seed in rows["seed"].tolist()])
    levels = noise_levels(parameters.steps, parameters.sigma_min, parameters.sigma_max, parameters.rho)
    guided = GuidedDenoiser(denoiser, conditions, parameters.guidance, parameters.guidance_scale,
                            tuple(parameters.guidance_interval), guide)
    normalised = multistep(guided, levels[0] * noise.to(device), levels)
    if not torch.isfinite(normalised).all():
        raise UserError(f"image {name} or one of its batch is not finite: lower sample.guidance_scale in params.yaml.")
    drawn = to_bytes(denoiser.restore(normalised).squeeze(1).cpu().numpy())
    forward, gradient = guided.forward_image_passes, guided.gradient_image_passes
    scratch.write_state(name, 0, {"images": torch.from_numpy(drawn)}, dict(forward=forward, gradient=gradient))
    return drawn, forward, gradient
