"""Draw synthetic images: one noise generator per image, so the noise does not depend on batches or workers.

The size of a batch can still change the last bits of a sum, and with them a pixel by one grey level.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch

from synthplanes import records, seeds
from synthplanes.compute.checkpoints import NOTHING_KEPT, Piece
from synthplanes.data.images import to_bytes
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.batches import positions
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guidance import GuidedDenoiser
from synthplanes.diffusion.guide import Guide
from synthplanes.diffusion.processes import ALONE, Processes
from synthplanes.diffusion.solvers import SOLVERS, noise_levels
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import Sample


class Drawn(NamedTuple):
    """Synthetic images and the work that they cost."""

    images: np.ndarray           # uint8 [N, H, W]
    forward_image_passes: int
    gradient_image_passes: int   # forward and backward


def list_images(train_set: LabelledImages, scanners: tuple[str, ...], images_per_class: int, budget: str,
                replicate: int, root_seed: int) -> pd.DataFrame:
    """List the images to draw (records.SYNTHETIC), class after class, each with its scanner and its noise's seed.

    The scanner is that of a random training image of the class, and '' where the denoiser is not conditioned on it:
    `scanners` are those on which it is conditioned.
    """
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(train_set.classes):
        own = [scanner if scanner in scanners else ""
               for scanner in train_set.scanners[train_set.labels == number].tolist()]
        for _ in range(images_per_class):
            index = len(rows)
            draw = seeds.generator(root_seed, "synthetic scanner", replicate, index)
            rows.append(dict(image_id=f"s{replicate}-{index:06d}", label=name, budget=budget, replicate=replicate,
                             scanner=own[int(draw.integers(len(own)))] if own else "",
                             seed=seeds.derive(root_seed, "sampling noise", replicate, index)))
    return records.SYNTHETIC.frame(rows)


@dataclass(frozen=True)
class Sampler:
    """Draw images from a denoiser.

    `guide` is the noise-aware classifier (guidance 'classifier') or the early average ('auto'). `workers` batches are
    drawn in parallel with one CPU thread each (one at a time on a GPU); that changes no byte.
    """

    denoiser: Denoiser
    guide: Guide | Denoiser | None
    parameters: Sample
    device: torch.device
    workers: int = 1

    def __post_init__(self):
        if self.parameters.guidance == "classifier" and self.guide is None:
            raise UserError("sample.guidance is 'classifier' but no guide was trained: run train_guide first.")
        if self.parameters.guidance == "auto" and self.guide is None:
            raise UserError("sample.guidance is 'auto' but no early average was kept: set "
                            "train_diffusion.early_average_fraction in params.yaml above 0.")
        self.denoiser.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        if self.guide is not None:
            self.guide.to(self.device).eval().requires_grad_(False)

    def draw(self, index: pd.DataFrame, piece_of: Callable[[pd.DataFrame], Piece] = lambda _: NOTHING_KEPT,
             processes: Processes = ALONE) -> Drawn | None:
        """Draw the images of `index` (records.SYNTHETIC).

        A batch with a finished piece is not drawn again. With several processes, each one draws its share of the
        batches; then the first process reads all pieces, and the others return None.
        """
        batches = [index.iloc[start:start + self.parameters.batch_size]
                   for start in range(0, len(index), self.parameters.batch_size)]
        if processes.count > 1:
            self._draw_batches(processes.share(batches), piece_of)
            processes.wait()
        return self._draw_batches(batches, piece_of) if processes.first else None

    def _draw_batches(self, batches: list[pd.DataFrame], piece_of: Callable[[pd.DataFrame], Piece]) -> Drawn:
        size, done = self.denoiser.configuration.image_size, 0
        progress = Progress("sampling", sum(map(len, batches)), "images")
        progress(0)
        # Threads, not processes: torch holds no lock while it computes, and nothing has to be imported or copied again.
        parallel = joblib.Parallel(n_jobs=self.workers if self.device.type == "cpu" else 1, backend="threading",
                                   return_as="generator")
        parts = [Drawn(np.empty((0, size, size), dtype=np.uint8), 0, 0)]
        for part in parallel(joblib.delayed(self._draw_batch)(rows, piece_of(rows)) for rows in batches):
            parts.append(part)
            done += len(part.images)
            progress(done)
        return joined(parts)

    def _draw_batch(self, rows: pd.DataFrame, piece: Piece) -> Drawn:
        if kept := piece.read():
            return Drawn(kept[0]["images"].numpy(), kept[1]["forward"], kept[1]["gradient"])
        torch.set_num_threads(1)  # holds for the calling thread
        parameters, configuration = self.parameters, self.denoiser.configuration
        conditions = Conditions(positions(rows["label"].to_numpy(), configuration.classes),
                                positions(rows["scanner"].to_numpy(), configuration.scanners),
                                torch.zeros(len(rows), N_AUGMENTATIONS)).to(self.device)
        generators = [torch.Generator().manual_seed(seed) for seed in rows["seed"].tolist()]

        def noise() -> torch.Tensor:
            shape = (1, 1, configuration.image_size, configuration.image_size)
            return torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(self.device)

        sigmas = noise_levels(parameters.steps, parameters.sigma_min, parameters.sigma_max, parameters.rho)
        low, high = parameters.guidance_interval
        guided = GuidedDenoiser(self.denoiser, conditions, parameters.guidance, parameters.guidance_scale, (low, high),
                                self.guide)
        normalised = SOLVERS[parameters.solver](guided, sigmas[0] * noise(), sigmas, noise)
        if not torch.isfinite(normalised).all():
            raise UserError(f"image {rows['image_id'].iloc[0]} or one of its batch is not finite: lower "
                            "sample.guidance_scale in params.yaml.")
        drawn = Drawn(to_bytes(self.denoiser.restore(normalised).squeeze(1).cpu().numpy()),
                      guided.forward_image_passes, guided.gradient_image_passes)
        piece.write(0, {"images": torch.from_numpy(drawn.images)},
                    dict(forward=drawn.forward_image_passes, gradient=drawn.gradient_image_passes))
        return drawn


def joined(parts: Iterable[Drawn]) -> Drawn:
    """Concatenate batches in their order."""
    images, forward, gradient = zip(*parts, strict=True)
    return Drawn(np.concatenate(images), sum(forward), sum(gradient))
