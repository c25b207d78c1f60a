"""Training of the denoiser: the loop written out, counted in images seen.

Every step's randomness derives from (root seed, purpose, step), so no generator state has to be kept, and a killed
training goes on from its last state to the same bytes.
The first images may be seen at half the size (coarse to fine: the U-Net is convolutional, and so takes both).
Batches are drawn with a stated share of class balance; the weights are averaged (EMA). The loss on the budget's
validation patients is recorded as a curve; with `patience_images` it also ends the training once it has stopped
falling, and the average of its lowest point is kept in place of the last one.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from synthplanes import records, seeds
from synthplanes.data.images import mean_and_deviation, to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.batches import Batches, positions
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Configuration, Denoiser, loss_per_image
from synthplanes.diffusion.parts import Parts, largest_that_fits
from synthplanes.diffusion.processes import ALONE, Processes
from synthplanes.diffusion.training_state import Counters, as_state, from_state
from synthplanes.diffusion.warm_start import begin_from
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.compute.checkpoints import NothingKept
from synthplanes.protocol.config import TrainDiffusion

HELD_OUT_LEVELS = 8     # noise levels per held-out image, spread over the training distribution
EMA_RAMP_SHARE = 0.1    # the half-life never exceeds this share of the images seen (Karras 2022, appendix F.1)
GRADIENT_NORM = 1.0     # clipped


@dataclass(frozen=True)
class Trained:
    """What a training run leaves."""

    configuration: Configuration
    tensors: dict[str, torch.Tensor]  # averaged weights: the last ones, or with patience the best
    early: dict[str, torch.Tensor]    # those of an earlier moment, for autoguidance; empty where none were asked for
    history: records.Table            # GENERATOR_HISTORY
    training_image_passes: int
    forward_image_passes: int


def train(train_set: LabelledImages, held_out: LabelledImages, parameters: TrainDiffusion, root_seed: int,
          replicate: int, device: torch.device, threads: int = 1, scratch: NothingKept = NothingKept(),
          origin: str = "", adopted: Path = Path(), processes: Processes = ALONE) -> Trained:
    """Train a denoiser on a budget's training images, from the state in `scratch` if there is one.

    On a CPU every batch is computed in `threads` parts, a core for each, on GPUs in one part for each; their number
    changes the last bits, and the number of processes they are divided among does not.
    `origin` names these images for the generator's `learned_from`; a warm start is looked for in `adopted`.

    Raises `UserError` when the loss is not finite; the state before stays in `scratch`.
    """
    scanners = tuple(sorted(set(train_set.scanners.tolist()) - {""})) if parameters.scanner_condition else ()
    configuration = configure(train_set, parameters, scanners)
    torch.manual_seed(seeds.derive(root_seed, "denoiser initialisation", replicate))
    denoiser = Denoiser(configuration)
    before = begin_from(denoiser, parameters.warm_start, adopted) if parameters.warm_start else ()
    configuration = replace(configuration, learned_from=tuple(dict.fromkeys((*before, origin))))
    # On a GPU convolutions in bfloat16 want the channels last; on a CPU the layout makes no difference.
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    denoiser = denoiser.to(device, memory_format=layout)
    average = copy.deepcopy(denoiser).eval()
    if parameters.compile:
        denoiser.unet.compile(dynamic=False)  # in place: its weights keep their names
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=parameters.learning_rate, betas=(0.9, 0.99),
                                  weight_decay=0.0, fused=True)
    batches = Batches(train_set, scanners, parameters, device)
    held_out_conditions = Conditions(torch.from_numpy(held_out.labels), positions(held_out.scanners, scanners),
                                     torch.zeros(len(held_out), N_AUGMENTATIONS))

    parts = Parts(threads if device.type == "cpu" else processes.count, processes)
    progress = Progress("denoiser", parameters.images_seen, "images seen")
    kept = scratch.read_state(f"r{replicate}")
    at, early, best = from_state(*kept, denoiser, average, optimiser) if kept else (Counters(), {}, {})
    progress(at.seen)
    while not is_over(at, parameters):
        coarse = at.seen < parameters.coarse_share * parameters.images_seen
        batch = batches(seeds.derive(root_seed, "denoiser batch", replicate, at.step), coarse)
        clean = denoiser.normalise(batch.images)
        at.coarse += coarse * parameters.batch_size
        masks = [seeds.derive(root_seed, f"denoiser dropout {part}", replicate, at.step) for part in range(parts.n)]

        def losses(rows: slice) -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=parameters.precision == "bfloat16"):
                return loss_per_image(denoiser, clean[rows], batch.noise[rows], batch.sigma[rows],
                                      batch.conditions.of(rows))

        def backward(size: int) -> float:
            return parts.backward(denoiser, losses, size, masks)

        try:
            loss = backward(parameters.batch_size)
        except torch.OutOfMemoryError:
            fits = largest_that_fits(backward, parameters.batch_size)
            raise UserError(f"train_diffusion.batch_size {parameters.batch_size} needs more memory than the "
                            f"{device.type} has: {f'{fits} fits' if fits else 'not even 1 fits'}; change it in "
                            "params.yaml.") from None
        if not np.isfinite(loss):
            raise UserError(f"the denoiser's loss is {loss} at step {at.step} ({at.seen} images seen): lower "
                            "train_diffusion.learning_rate in params.yaml.")
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), GRADIENT_NORM)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(at.seen, parameters)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        before, at.seen, at.step = at.seen, at.seen + parameters.batch_size, at.step + 1
        halflife = min(parameters.ema_halflife_images, EMA_RAMP_SHARE * at.seen)
        move_average(average, denoiser, 0.5 ** (parameters.batch_size / halflife))
        if before < parameters.early_average_share * parameters.images_seen <= at.seen:
            early = copy.deepcopy(average.state_dict())
        at.since.append(loss)
        progress(at.seen)

        every = parameters.held_out_every_images
        if at.seen >= parameters.images_seen or at.seen // every > before // every:
            held_out_now = held_out_loss(average, held_out.images, held_out_conditions, parameters, root_seed, device,
                                         parts)
            at.forward += HELD_OUT_LEVELS * len(held_out)
            mean = float(np.mean(at.since))
            at.history.append(dict(images_seen=at.seen, train_loss=round(mean, 6),
                                   held_out_loss=round(held_out_now, 6)))
            at.since = []
            if parameters.patience_images and (at.best_loss is None or held_out_now < at.best_loss):
                at.best_loss, at.best_seen = held_out_now, at.seen
                best = copy.deepcopy(average.state_dict())
            progress(at.seen, f"loss {mean:.4f}, held out {held_out_now:.4f}")
        if processes.first and (is_over(at, parameters) or scratch.due()):
            scratch.write_state(f"r{replicate}", at.step, *as_state(denoiser, average, early, best, optimiser, at))

    history = records.Table.of_rows(records.GENERATOR_HISTORY, at.history)
    # A coarse image has a quarter of the pixels, and costs a quarter of the work.
    return Trained(configuration, on_cpu(best or average.state_dict()), on_cpu(early), history,
                   at.seen - at.coarse * 3 // 4, at.forward)


def is_over(at: Counters, parameters: TrainDiffusion) -> bool:
    """Whether all images were seen, or the held-out loss has not fallen for `patience_images`."""
    waited = at.seen - at.best_seen if parameters.patience_images and at.best_loss is not None else 0
    return at.seen >= parameters.images_seen or waited >= (parameters.patience_images or 1)


def on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def configure(train_set: LabelledImages, parameters: TrainDiffusion, scanners: tuple[str, ...]) -> Configuration:
    """The denoiser's configuration for these images; their size must be a multiple of the U-Net's reduction."""
    network = parameters.network
    size = train_set.images.shape[1]
    reduction = network.unshuffle * 2 ** (len(network.channels) - 1)
    reduction *= 2 if parameters.coarse_share else 1
    if size % reduction:
        raise UserError(f"image_size {size} is no multiple of {reduction} (unshuffle x 2^levels, twice that with "
                        "coarse_share): change train_diffusion or prepare.image_size in params.yaml.")
    mean, deviation = mean_and_deviation(train_set.images)
    return Configuration(size, network.unshuffle, tuple(network.channels), network.layers_per_block,
                         tuple(network.attention_at), network.dropout, train_set.classes, scanners,
                         round(mean, 6), round(deviation, 6))


def learning_rate(seen: int, parameters: TrainDiffusion) -> float:
    """Linear warm-up, then a half cosine down to a tenth."""
    warm = min(1.0, (seen + parameters.batch_size) / max(parameters.warmup_images, 1))
    cosine = 0.55 + 0.45 * np.cos(np.pi * min(1.0, seen / parameters.images_seen))
    return parameters.learning_rate * warm * float(cosine)


@torch.no_grad()
def move_average(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    """average <- keep average + (1 - keep) model, for every parameter."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


def held_out_loss(denoiser: Denoiser, images: np.ndarray, conditions: Conditions, parameters: TrainDiffusion,
                  root_seed: int, device: torch.device, parts: Parts) -> float:
    """The training loss on held-out images (uint8 [N, H, W]) at HELD_OUT_LEVELS fixed levels and with fixed noise."""
    quantiles = (torch.arange(HELD_OUT_LEVELS, dtype=torch.float64) + 0.5) / HELD_OUT_LEVELS
    levels = (parameters.noise_mean + parameters.noise_deviation * torch.special.ndtri(quantiles)).exp().float()

    @torch.no_grad()
    def at_level(number: int) -> float:
        generator = torch.Generator().manual_seed(seeds.derive(root_seed, "held-out noise", number))
        noise, total = torch.randn((len(images), 1, *images.shape[1:]), generator=generator), 0.0
        for start in range(0, len(images), parameters.batch_size):
            rows = slice(start, start + parameters.batch_size)
            clean = denoiser.normalise(torch.from_numpy(to_float(images[rows])).unsqueeze(1).to(device))
            total += loss_per_image(denoiser, clean, noise[rows].to(device),
                                    levels[number].expand(len(clean)).to(device),
                                    conditions.of(rows).to(device)).sum().item()
        return total

    return sum(parts.map(at_level, range(HELD_OUT_LEVELS))) / (HELD_OUT_LEVELS * len(images))
