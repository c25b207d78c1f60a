"""Drawing the synthetic set: one noise generator per image index, so batches and workers change nothing."""

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
from synthplanes.protocol import Sample


def plan(train_set: LabelledImages, parameters: Sample, budget: str, replicate: int, root_seed: int
         ) -> records.Table:
    """Which images to draw (records.SYNTHETIC): `images_per_class` of every class, class after class.

    scanners 'as_in_class' draws each image's scanner from the class's own training images, 'uniform'
    from all scanners of the budget (so unseen combinations are drawn).
    """
    known = sorted(set(train_set.scanners.tolist()) - {""})
    rows = []
    for number, name in enumerate(train_set.classes):
        own = train_set.scanners[train_set.labels == number].tolist()
        choice = known if parameters.scanners == "uniform" else own
        for _ in range(parameters.images_per_class):
            index = len(rows)
            draw = seeds.generator(root_seed, "synthetic scanner", replicate, index)
            rows.append(dict(image_id=f"s{replicate}-{index:06d}", label=name, budget=budget, replicate=replicate,
                             scanner=choice[int(draw.integers(len(choice)))] if choice else "",
                             seed=seeds.derive(root_seed, "sampling noise", replicate, index)))
    return records.Table.of_rows(records.SYNTHETIC, rows)


def draw(denoiser: Denoiser, guide: Guide | None, index: records.Table, parameters: Sample, device: torch.device
         ) -> tuple[np.ndarray, int]:
    """The planned images, uint8 [N, H, W], and the number of image passes forward through the networks."""
    configuration = denoiser.configuration
    denoiser = denoiser.to(device).eval().requires_grad_(False)
    guide = guide.to(device).eval().requires_grad_(False) if guide is not None else None
    if parameters.guidance == "classifier" and guide is None:
        raise UserError("sample.guidance is 'classifier' but no guide was trained: run train_guide first.")
    levels = noise_levels(parameters.steps, parameters.sigma_min, parameters.sigma_max, parameters.rho)
    label = {name: number for number, name in enumerate(configuration.classes)}
    scanner = {name: number for number, name in enumerate(configuration.scanners)}
    size, passes = configuration.image_size, 0
    images = np.empty((len(index), size, size), dtype=np.uint8)
    progress = Progress("sampling", len(index), "images")
    progress(0)
    for start in range(0, len(index), parameters.batch_size):
        rows = index.select(np.arange(start, min(start + parameters.batch_size, len(index))))
        conditions = Conditions(torch.tensor([label[name] for name in rows["label"].tolist()]),
                                torch.tensor([scanner.get(name, len(scanner)) for name in rows["scanner"].tolist()]),
                                torch.zeros(len(rows), N_AUGMENTATIONS)).to(device)
        noise = torch.cat([torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(seed))
                           for seed in rows["seed"].tolist()])
        guided = GuidedDenoiser(denoiser, conditions, parameters.guidance, parameters.guidance_scale,
                                tuple(parameters.guidance_interval), guide)
        normalised = multistep(guided, levels[0] * noise.to(device), levels)
        if not torch.isfinite(normalised).all():
            raise UserError(f"image {rows['image_id'][0]} or one of its batch is not finite: lower "
                            "sample.guidance_scale in params.yaml.")
        images[start:start + len(rows)] = to_bytes(denoiser.restore(normalised).squeeze(1).cpu().numpy())
        passes += guided.forward_image_passes
        progress(start + len(rows))
    return images, passes
