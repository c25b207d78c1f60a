"""Train the denoiser, with progress counted in images seen.

Every step's randomness derives from (root seed, purpose, step), so no generator state has to be saved, and a killed
training resumes from its last state and ends with the same bytes. Batches are drawn with a stated share of class
balance; the weights are averaged (EMA). The loss on the budget's validation patients is recorded as a curve. With
`patience_images`, training ends once that loss has stopped falling, and the averaged weights at its lowest point are
returned instead of the last ones.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from synthplanes import records, seeds
from synthplanes.compute.checkpoints import NOTHING_KEPT, Piece, images_sha256
from synthplanes.data.images import mean_and_deviation, to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.batches import Batch, Batches, positions
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import Configuration, Denoiser, loss_per_image
from synthplanes.diffusion.parts import Parts, largest_that_fits
from synthplanes.diffusion.pretrained import load_pretrained
from synthplanes.diffusion.processes import ALONE, Processes
from synthplanes.diffusion.training_state import Counters, State, Tensors
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import TrainDiffusion

HELD_OUT_LEVELS = 8        # noise levels per held-out image, spread over the training distribution
EMA_RAMP_FRACTION = 0.1    # the half-life never exceeds this fraction of the images seen (Karras 2022, appendix F.1)
GRADIENT_NORM = 1.0        # gradients are clipped to this norm


@dataclass(frozen=True)
class Task:
    """A denoiser to train.

    On a CPU every batch is computed in `threads` parts, one core each; on GPUs, in one part per GPU. The number of
    parts changes the last bits; the number of processes that share them does not.
    """

    train_set: LabelledImages
    held_out: LabelledImages    # the budget's validation images
    parameters: TrainDiffusion
    root_seed: int
    replicate: int = 0
    threads: int = 1
    learned_from: str = ""      # the name of the training images in the generator's `learned_from`
    pretrained: Path = Path()   # where pretrained weights are kept

    @property
    def scanners(self) -> tuple[str, ...]:
        """Return the scanners on which the denoiser is conditioned."""
        return tuple(sorted(set(self.train_set.scanners.tolist()) - {""})) if self.parameters.scanner_condition else ()

    def identity(self) -> list[Any]:
        """Return all that the result depends on, as JSON values."""
        return [images_sha256(self.train_set), images_sha256(self.held_out), self.parameters.model_dump(),
                self.root_seed, self.replicate, self.threads, self.learned_from]


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    configuration: Configuration
    tensors: Tensors            # averaged weights: the last ones or, with patience, the best
    early: Tensors              # averaged weights of an earlier moment, for autoguidance; may be empty
    history: pd.DataFrame       # records.GENERATOR_HISTORY
    training_image_passes: int
    forward_image_passes: int


def train(task: Task, device: torch.device, piece: Piece = NOTHING_KEPT, processes: Processes = ALONE) -> Trained:
    """Train a denoiser on a budget's training images, from the state in `piece` if there is one.

    Raises `UserError` when the loss is not finite or the batch does not fit the memory; the last state remains in
    `piece`.
    """
    parameters = task.parameters
    configuration, state = _initial(task, device)
    if kept := piece.read():
        state.restore(*kept)
    batches = Batches(task.train_set, configuration.scanners, parameters, device)
    parts = Parts(task.threads if device.type == "cpu" else processes.count, processes)
    progress = Progress("denoiser", parameters.images_seen, "images seen")
    progress(state.at.seen)
    while not is_over(state.at, parameters):
        at, before = state.at, state.at.seen
        batch = batches.draw(seeds.derive(task.root_seed, "denoiser batch", task.replicate, at.step))
        dropout_seeds = [seeds.derive(task.root_seed, f"denoiser dropout {part}", task.replicate, at.step)
                         for part in range(parts.n)]
        loss = backward(state.denoiser, batch, parameters, parts, dropout_seeds)
        if not np.isfinite(loss):
            raise UserError(f"the denoiser's loss is {loss} at step {at.step} ({at.seen} images seen): lower "
                            "train_diffusion.learning_rate in params.yaml.")
        torch.nn.utils.clip_grad_norm_(state.denoiser.parameters(), GRADIENT_NORM)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(at.seen, parameters)
        state.optimiser.step()
        state.optimiser.zero_grad(set_to_none=True)
        at.seen, at.step = at.seen + parameters.batch_size, at.step + 1
        halflife = min(parameters.ema_halflife_images, EMA_RAMP_FRACTION * at.seen)
        move_average(state.average, state.denoiser, 0.5 ** (parameters.batch_size / halflife))
        if before < parameters.early_average_fraction * parameters.images_seen <= at.seen:
            state.early = copy.deepcopy(state.average.state_dict())
        at.since.append(loss)
        progress(at.seen)

        every = parameters.held_out_every_images
        if at.seen >= parameters.images_seen or at.seen // every > before // every:
            progress(at.seen, _look(state, task, held_out_loss(state.average, task, device, parts)))
        if processes.first and (is_over(at, parameters) or piece.due()):
            piece.write(at.step, state.tensors(finished=is_over(at, parameters)), state.facts())

    history = records.GENERATOR_HISTORY.frame(state.at.history)
    return Trained(configuration, on_cpu(state.best or state.average.state_dict()), on_cpu(state.early), history,
                   state.at.seen, state.at.forward)


def _initial(task: Task, device: torch.device) -> tuple[Configuration, State]:
    """Return the configuration and the state before the first step."""
    parameters = task.parameters
    configuration = configure(task.train_set, parameters, task.scanners)
    torch.manual_seed(seeds.derive(task.root_seed, "denoiser initialisation", task.replicate))
    denoiser, before = Denoiser(configuration), ()  # type: tuple[Denoiser, tuple[str, ...]]
    if parameters.pretrained:
        before = load_pretrained(denoiser, parameters.pretrained, task.pretrained)
    configuration = replace(configuration, learned_from=tuple(dict.fromkeys((*before, task.learned_from))))
    # On a GPU convolutions in bfloat16 are faster with channels last; on a CPU the layout makes no difference.
    denoiser = denoiser.to(device,  # type: ignore[call-overload]
                           memory_format=torch.channels_last if device.type == "cuda" else torch.preserve_format)
    average = copy.deepcopy(denoiser).eval()
    if parameters.compile:
        denoiser.unet.compile(dynamic=False)  # in place: its weights keep their names
    return configuration, State(denoiser, average, torch.optim.AdamW(
        denoiser.parameters(), lr=parameters.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True))


def backward(denoiser: Denoiser, batch: Batch, parameters: TrainDiffusion, parts: Parts, dropout_seeds: list[int]
             ) -> float:
    """Set the gradients of the mean loss of a batch, and return that loss; out of memory raises `UserError`."""
    clean, device = denoiser.normalise(batch.images), batch.images.device.type

    def losses(rows: slice) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=parameters.precision == "bfloat16"):
            return loss_per_image(denoiser, clean[rows], batch.noise[rows], batch.sigma[rows],
                                  batch.conditions.of(rows))

    def of_size(size: int) -> float:
        return parts.backward(denoiser, losses, size, dropout_seeds)

    try:
        return of_size(parameters.batch_size)
    except torch.OutOfMemoryError:
        fits = largest_that_fits(of_size, parameters.batch_size)
        raise UserError(f"train_diffusion.batch_size {parameters.batch_size} needs more memory than the {device} has: "
                        f"{f'{fits} fits' if fits else 'not even 1 fits'}; change it in params.yaml.") from None


def _look(state: State, task: Task, held_out: float) -> str:
    """Append the losses to the history as a row, and return them as text."""
    at, mean = state.at, float(np.mean(state.at.since))
    at.forward += HELD_OUT_LEVELS * len(task.held_out)
    at.history.append(dict(images_seen=at.seen, train_loss=round(mean, 6), held_out_loss=round(held_out, 6)))
    at.since = []
    if task.parameters.patience_images and (at.best_loss is None or held_out < at.best_loss):
        at.best_loss, at.best_seen = held_out, at.seen
        state.best = copy.deepcopy(state.average.state_dict())
    return f"loss {mean:.4f}, held out {held_out:.4f}"


def is_over(at: Counters, parameters: TrainDiffusion) -> bool:
    """Return whether all images were seen, or the held-out loss has not fallen for `patience_images`."""
    waited = at.seen - at.best_seen if parameters.patience_images and at.best_loss is not None else 0
    return at.seen >= parameters.images_seen or waited >= (parameters.patience_images or 1)


def on_cpu(tensors: Tensors) -> Tensors:
    """Detach named tensors and move them to the CPU."""
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def configure(train_set: LabelledImages, parameters: TrainDiffusion, scanners: tuple[str, ...]) -> Configuration:
    """Return the denoiser's configuration for these images; their size must be a multiple of the U-Net's reduction."""
    network = parameters.network
    size = train_set.images.shape[1]
    reduction = network.unshuffle * 2 ** (len(network.channels) - 1)
    if size % reduction:
        raise UserError(f"image_size {size} is no multiple of {reduction} (unshuffle x 2^levels): change "
                        "train_diffusion or prepare.image_size in params.yaml.")
    mean, deviation = mean_and_deviation(train_set.images)
    return Configuration(size, network.unshuffle, tuple(network.channels), network.layers_per_block,
                         tuple(network.attention_at), network.dropout, train_set.classes, scanners,
                         round(mean, 6), round(deviation, 6))


def learning_rate(seen: int, parameters: TrainDiffusion) -> float:
    """Return the learning rate after `seen` images: linear warm-up, then a half cosine down to a tenth."""
    warm = min(1.0, (seen + parameters.batch_size) / max(parameters.warmup_images, 1))
    cosine = 0.55 + 0.45 * np.cos(np.pi * min(1.0, seen / parameters.images_seen))
    return parameters.learning_rate * warm * float(cosine)


@torch.no_grad()
def move_average(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    """Set average <- keep average + (1 - keep) model, for every parameter."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


def held_out_loss(denoiser: Denoiser, task: Task, device: torch.device, parts: Parts) -> float:
    """Return the training loss on held-out images, at HELD_OUT_LEVELS fixed noise levels and with fixed noise."""
    parameters, images = task.parameters, task.held_out.images                      # uint8 [N, H, W]
    conditions = Conditions(torch.tensor(task.held_out.labels),
                            positions(task.held_out.scanners, denoiser.configuration.scanners),
                            torch.zeros(len(images), N_AUGMENTATIONS))
    quantiles = (torch.arange(HELD_OUT_LEVELS, dtype=torch.float64) + 0.5) / HELD_OUT_LEVELS
    sigmas = (parameters.noise_mean + parameters.noise_deviation * torch.special.ndtri(quantiles)).exp().float()

    @torch.no_grad()
    def at_level(number: int) -> float:
        generator = torch.Generator().manual_seed(seeds.derive(task.root_seed, "held-out noise", number))
        noise, total = torch.randn((len(images), 1, *images.shape[1:]), generator=generator), 0.0
        for start in range(0, len(images), parameters.batch_size):
            rows = slice(start, start + parameters.batch_size)
            clean = denoiser.normalise(torch.from_numpy(to_float(images[rows])).unsqueeze(1).to(device))
            total += loss_per_image(denoiser, clean, noise[rows].to(device),
                                    sigmas[number].expand(len(clean)).to(device),
                                    conditions.of(rows).to(device)).sum().item()
        return total

    return sum(parts.map(at_level, range(HELD_OUT_LEVELS))) / (HELD_OUT_LEVELS * len(images))
