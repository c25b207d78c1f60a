"""Draw synthetic images: one noise generator per image, so the noise does not depend on batches or workers.

The size of a batch can still change the last bits of a sum, and with them a pixel by one grey level.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch

from synthplanes import records, seeds
from synthplanes.compute.checkpoints import NOTHING_KEPT, Piece
from synthplanes.data.images import to_bytes
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.batches import plain_conditions, positions
from synthplanes.diffusion.denoiser import EARLY, Denoiser, read_denoiser
from synthplanes.diffusion.guidance import Guide, GuidedDenoiser, read_guide
from synthplanes.diffusion.parts import ALONE, Processes
from synthplanes.diffusion.solvers import SOLVERS, noise_levels
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import Sample


class Drawn(NamedTuple):
    """Synthetic images and the work that they cost."""

    images: np.ndarray  # uint8 [N, H, W]
    passes: Counter     # as `GuidedDenoiser` counts them


def list_images(train_set: LabelledImages, scanners: tuple[str, ...], images_per_class: int, budget: str,
                replicate: int, root_seed: int) -> pd.DataFrame:
    """List the images to draw (records.SYNTHETIC), class after class, each with its scanner and its noise's seed.

    The scanner is that of a random training image of the class, and '' where the denoiser is not conditioned on it:
    `scanners` are those on which it is conditioned.
    """
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(train_set.classes):
        own = train_set.scanners[train_set.labels == number].tolist() or [""]
        for index in range(number * images_per_class, (number + 1) * images_per_class):
            scanner = own[int(seeds.generator(root_seed, "synthetic scanner", replicate, index).integers(len(own)))]
            rows.append(dict(image_id=f"s{replicate}-{index:06d}", label=name, budget=budget, replicate=replicate,
                             scanner=scanner if scanner in scanners else "",
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
        self.denoiser.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        if self.guide is not None:
            self.guide.to(self.device).eval().requires_grad_(False)

    def draw(self, index: pd.DataFrame, piece_of: Callable[[Any], Piece] = lambda _: NOTHING_KEPT,
             processes: Processes = ALONE) -> Drawn | None:
        """Draw the images of `index` (records.SYNTHETIC).

        `piece_of` gives the piece of a batch from its rows of `index` as lists; a finished batch is not drawn again.
        With several processes, each one draws its share of the batches; then the first process reads all pieces, and
        the others return None.
        """
        size, side = self.parameters.batch_size, self.denoiser.configuration.image_size
        if processes.count > 1:
            of_process = np.arange(len(index)) // size % processes.count
            self.draw(index[of_process == processes.rank], piece_of)
            processes.wait()
            if processes.rank > 0:
                return None
        progress = Progress("sampling", len(index), "images")
        progress(0)
        # Threads, not processes: torch holds no lock while it computes, and nothing has to be imported or copied again.
        parallel = joblib.Parallel(n_jobs=self.workers if self.device.type == "cpu" else 1, backend="threading",
                                   return_as="generator")
        images, passes = [np.empty((0, side, side), dtype=np.uint8)], Counter[str]()
        batches = [index.iloc[start:start + size] for start in range(0, len(index), size)]
        for part in parallel(joblib.delayed(self._draw_batch)(rows, piece_of(rows.to_dict("list")))
                             for rows in batches):
            images.append(part.images)
            passes += part.passes
            progress(sum(map(len, images)))
        return Drawn(np.concatenate(images), passes)

    def _draw_batch(self, rows: pd.DataFrame, piece: Piece) -> Drawn:
        if kept := piece.read():
            return Drawn(kept[0]["images"].numpy(), Counter(kept[1]))
        torch.set_num_threads(1)  # holds for the calling thread
        parameters, configuration = self.parameters, self.denoiser.configuration
        conditions = plain_conditions(positions(rows["label"].to_numpy(), configuration.classes),
                                      rows["scanner"].to_numpy(), configuration.scanners).to(self.device)
        generators = [torch.Generator().manual_seed(seed) for seed in rows["seed"].tolist()]

        def noise() -> torch.Tensor:
            shape = (1, 1, configuration.image_size, configuration.image_size)
            return torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(self.device)

        sigmas = noise_levels(parameters.steps, parameters.sigma_min, parameters.sigma_max, parameters.rho)
        guided = GuidedDenoiser(self.denoiser, conditions, parameters, self.guide)
        normalised = SOLVERS[parameters.solver](guided, sigmas[0] * noise(), sigmas, noise)
        if not torch.isfinite(normalised).all():
            raise UserError(f"image {rows['image_id'].iloc[0]} or one of its batch is not finite: lower "
                            "sample.guidance_scale in params.yaml.")
        images = to_bytes(self.denoiser.restore(normalised).squeeze(1).cpu().numpy())
        piece.write({"images": torch.from_numpy(images)}, guided.passes)
        return Drawn(images, guided.passes)


def read_sampler(generator: Path, guide: Path, parameters: Sample, device: torch.device, workers: int = 1) -> Sampler:
    """Read the denoiser in `generator`, and the early average beside it or the guide where guidance needs one.

    Raises `UserError` where a file is absent.
    """
    helper: Guide | Denoiser | None = None
    if parameters.guidance == "classifier":
        helper = read_guide(guide)
    elif parameters.guidance == "auto":
        if not (generator / EARLY).exists():
            raise UserError("sample.guidance is 'auto' but no early average was kept: set "
                            "train_diffusion.early_average_fraction in params.yaml above 0.")
        helper = read_denoiser(generator, EARLY)
    return Sampler(read_denoiser(generator), helper, parameters, device, workers)
