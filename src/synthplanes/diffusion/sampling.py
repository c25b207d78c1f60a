"""Drawing the synthetic set: one noise generator per image index, so the noise knows nothing of batches or workers.

The size of a batch can still change the last bits of a sum, and with them one grey level of a pixel.
"""

import joblib
import numpy as np
import torch

from synthplanes import records, seeds
from synthplanes.data.images import to_bytes, to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.guidance import GuidedDenoiser
from synthplanes.diffusion.guide import Guide
from synthplanes.diffusion.processes import Processes
from synthplanes.diffusion.solvers import SOLVERS, noise_levels
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.compute.checkpoints import NothingKept
from synthplanes.protocol.config import Sample


def plan(train_set: LabelledImages, told: tuple[str, ...], parameters: Sample, budget: str, replicate: int,
         root_seed: int) -> records.Table:
    """Which images to draw (records.SYNTHETIC), class after class.

    `parameters.plan` says for a class how many of which scanner; of the others `images_per_class` are drawn, each
    with a scanner of the class's own training images ('as_in_class') or of all that the denoiser knows ('uniform',
    so unseen combinations are drawn). `told` are the scanners that the denoiser knows; one it was never told of is ''.
    With start 'real' every image begins at one of the class's training images (of the same scanner where there is
    one), named in `source`.
    """
    surplus = sorted(set(parameters.plan) - set(train_set.classes)) + sorted(
        {name for counts in parameters.plan.values() for name in counts} - {*told, ""})
    if surplus:
        raise UserError(f"sample.plan in params.yaml names '{surplus[0]}', which is no class of the images and no "
                        f"scanner that the generator was told: give classes of {list(train_set.classes)} and scanners "
                        f"of {[*told, '']}.")
    rows = []
    for number, name in enumerate(train_set.classes):
        mine = np.flatnonzero(train_set.labels == number)
        own = [scanner if scanner in told else "" for scanner in train_set.scanners[mine].tolist()]
        choice = told if parameters.scanners == "uniform" else own
        asked = [scanner for scanner, count in parameters.plan.get(name, {}).items() for _ in range(count)]
        for position in range(len(asked) if name in parameters.plan else parameters.images_per_class):
            index = len(rows)
            chance = seeds.generator(root_seed, "synthetic scanner", replicate, index)
            drawn = choice[int(chance.integers(len(choice)))] if choice else ""
            scanner = asked[position] if asked else drawn
            source = ""
            if parameters.start == "real":
                near = mine[[one == scanner for one in own]] if scanner in own else mine
                source = train_set.image_ids[near[int(chance.integers(len(near)))]]
            rows.append(dict(image_id=f"s{replicate}-{index:06d}", label=name, budget=budget, replicate=replicate,
                             scanner=scanner, source=source,
                             seed=seeds.derive(root_seed, "sampling noise", replicate, index)))
    return records.Table.of_rows(records.SYNTHETIC, rows)


def draw_together(processes: Processes, denoiser: Denoiser, guide: Guide | Denoiser | None, index: records.Table,
                  parameters: Sample, device: torch.device, workers: int, scratch: NothingKept,
                  real: LabelledImages | None = None) -> tuple[np.ndarray, int, int] | None:
    """What `draw` returns, made by several processes: each leaves its share of the batches in `scratch`, which all see,
    and the first takes them up; the others return None."""
    if processes.count > 1:
        share = share_of(index, parameters.batch_size, processes)
        draw(denoiser, guide, share, parameters, device, workers, scratch, real)
        processes.wait()
    return draw(denoiser, guide, index, parameters, device, workers, scratch, real) if processes.first else None


def share_of(index: records.Table, batch_size: int, processes: Processes) -> records.Table:
    """The batches of this process: whole ones of the same bounds, every so many."""
    return index.select(np.flatnonzero(np.arange(len(index)) // batch_size % processes.count == processes.rank))


def draw(denoiser: Denoiser, guide: Guide | Denoiser | None, index: records.Table, parameters: Sample,
         device: torch.device, workers: int = 1, scratch: NothingKept = NothingKept(),
         real: LabelledImages | None = None) -> tuple[np.ndarray, int, int]:
    """The planned images, uint8 [N, H, W], and the image passes: forward only, and there and back for a gradient.

    `guide` is the noise-aware classifier (guidance 'classifier') or the early average ('auto'); `real` holds the images
    that the index names as sources.

    `workers` batches are drawn side by side with one CPU thread each (one at a time on a GPU); that changes no byte.
    Batches that `scratch` holds are not drawn again.
    """
    if parameters.guidance == "classifier" and guide is None:
        raise UserError("sample.guidance is 'classifier' but no guide was trained: run train_guide first.")
    if parameters.guidance == "auto" and guide is None:
        raise UserError("sample.guidance is 'auto' but no early average was kept: set "
                        "train_diffusion.early_average_share in params.yaml above 0.")
    place = {image_id: row for row, image_id in enumerate(real.image_ids.tolist())} if real is not None else {}
    denoiser = denoiser.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    guide = guide.to(device).eval().requires_grad_(False) if guide is not None else None
    size, forward, gradient = denoiser.configuration.image_size, 0, 0
    images = np.empty((len(index), size, size), dtype=np.uint8)
    starts = range(0, len(index), parameters.batch_size)
    batches = [index.select(np.arange(start, min(start + parameters.batch_size, len(index)))) for start in starts]

    def starts_of(rows: records.Table) -> np.ndarray | None:
        return real.images[[place[source] for source in rows["source"]]] if parameters.start == "real" else None

    progress = Progress("sampling", len(index), "images")
    progress(0)
    # Threads, not processes: torch holds no lock while it computes, and nothing has to be imported or copied again.
    done = joblib.Parallel(n_jobs=workers if device.type == "cpu" else 1, backend="threading", return_as="generator")(
        joblib.delayed(draw_batch)(denoiser, guide, rows, parameters, device, scratch, starts_of(rows))
        for rows in batches)
    for start, rows, (drawn, batch_forward, batch_gradient) in zip(starts, batches, done):
        images[start:start + len(rows)] = drawn
        forward, gradient = forward + batch_forward, gradient + batch_gradient
        progress(start + len(rows))
    return images, forward, gradient


def draw_batch(denoiser: Denoiser, guide: Guide | Denoiser | None, rows: records.Table, parameters: Sample,
               device: torch.device, scratch: NothingKept, real: np.ndarray | None) -> tuple[np.ndarray, int, int]:
    """One batch of `draw`, from noise or from the images `real` (uint8 [N, H, W]) under noise of level `start_noise`.

    It is taken from `scratch` where that holds it.
    """
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
    generators = [torch.Generator().manual_seed(seed) for seed in rows["seed"].tolist()]

    def noise() -> torch.Tensor:
        shape = (1, 1, configuration.image_size, configuration.image_size)
        return torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(device)

    highest = parameters.sigma_max if real is None else parameters.start_noise
    levels = noise_levels(parameters.steps, parameters.sigma_min, highest, parameters.rho)
    x = levels[0] * noise()
    if real is not None:
        x = x + denoiser.normalise(torch.from_numpy(to_float(real)).unsqueeze(1).to(device))
    guided = GuidedDenoiser(denoiser, conditions, parameters.guidance, parameters.guidance_scale,
                            tuple(parameters.guidance_interval), guide)
    normalised = SOLVERS[parameters.solver](guided, x, levels, noise)
    if not torch.isfinite(normalised).all():
        raise UserError(f"image {name} or one of its batch is not finite: lower sample.guidance_scale in params.yaml.")
    drawn = to_bytes(denoiser.restore(normalised).squeeze(1).cpu().numpy())
    forward, gradient = guided.forward_image_passes, guided.gradient_image_passes
    scratch.write_state(name, 0, {"images": torch.from_numpy(drawn)}, dict(forward=forward, gradient=gradient))
    return drawn, forward, gradient
