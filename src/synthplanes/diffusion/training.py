"""Train the denoiser, with progress counted in images seen.

Every step's randomness derives from (root seed, purpose, step), so no generator state has to be saved, and a killed
training resumes from its last state and ends with the same bytes. The weights are averaged (EMA). The result is the
average at the lowest loss on the budget's validation patients, and training ends once that loss has not fallen for
`patience_images`. Averages of earlier moments are kept, to show what a generator draws after how many images.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthplanes import seeds
from synthplanes.compute.checkpoints import NOTHING_KEPT, Piece, images_sha256
from synthplanes.data.images import mean_and_deviation, to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.batches import Batch, Batches, noise_levels_at, plain_conditions
from synthplanes.diffusion.denoiser import Configuration, Denoiser, load_pretrained, loss_per_image
from synthplanes.diffusion.parts import ALONE, Parts, Processes
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.protocol.config import TrainDiffusion

HELD_OUT_LEVELS = 8        # noise levels per held-out image, spread over the training distribution
HELD_OUT_IMAGES = 256      # at most, evenly spaced in the validation images
EMA_RAMP_FRACTION = 0.1    # the half-life never exceeds this fraction of the images seen (Karras 2022, appendix F.1)
GRADIENT_NORM = 1.0        # gradients are clipped to this norm


@dataclass(frozen=True)
class Task:
    """A denoiser to train: on a CPU every batch is computed in `threads` parts, on GPUs in one part per GPU."""

    train_set: LabelledImages
    held_out: LabelledImages    # the budget's validation images
    parameters: TrainDiffusion
    root_seed: int
    replicate: int = 0
    threads: int = 1
    learned_from: str = ""      # the name of the training images in the generator's `learned_from`
    pretrained: Path = Path()   # where pretrained weights are kept

    @property
    def looked_at(self) -> LabelledImages:
        """Return the images on which the held-out loss is measured."""
        return self.held_out.select(slice(None, None, -(-len(self.held_out) // HELD_OUT_IMAGES)))

    def identity(self) -> list[Any]:
        """Return all that the result depends on, as JSON values."""
        return [images_sha256(self.train_set), images_sha256(self.held_out), self.parameters.model_dump(),
                self.root_seed, self.replicate, self.threads, self.learned_from]


Tensors = dict[str, torch.Tensor]
FACTS = ("seen", "best_loss", "best_seen", "history", "since")  # fields of a state that JSON can hold
AT = "at "  # the part of a checkpoint that holds the average after so many images


@dataclass
class State:
    """All that changes while a denoiser is trained; at the end, its result."""

    denoiser: Denoiser
    average: Denoiser                                   # exponential moving average of the weights
    optimiser: torch.optim.Optimizer
    early: Tensors = field(default_factory=dict)        # the average of an earlier moment, for autoguidance
    weights: Tensors = field(default_factory=dict)      # the average at the lowest held-out loss
    earlier: dict[int, Tensors] = field(default_factory=dict)  # float16 averages, by images seen
    seen: int = 0                                       # images
    best_loss: float | None = None                      # lowest held-out loss
    best_seen: int = 0                                  # images seen at that moment
    history: list[dict] = field(default_factory=list)   # rows of records.GENERATOR_HISTORY
    since: list[float] = field(default_factory=list)    # losses since the last row

    def keep(self, piece: Piece, finished: bool) -> None:
        """Write all that is needed to resume or, once training has finished, its results alone."""
        parts = {"early": self.early, "best": self.weights,
                 **{f"{AT}{seen}": tensors for seen, tensors in self.earlier.items()}}
        if not finished:
            parts |= {"denoiser": self.denoiser.state_dict(), "average": self.average.state_dict(),
                      **self.optimiser.state_dict()["state"]}
        piece.write({f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()},
                    {name: vars(self)[name] for name in FACTS})

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Load what `keep` wrote into newly built networks and optimiser."""
        parts: dict[str, Tensors] = defaultdict(dict)
        for place, tensor in tensors.items():
            part, name = place.split("/")
            parts[part][name] = tensor
        if "denoiser" in parts:
            self.denoiser.load_state_dict(parts["denoiser"])
            moments = {number: parts[str(number)] for number, _ in enumerate(self.denoiser.parameters())}
            self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
            self.average.load_state_dict(parts["average"])
        self.early, self.weights = parts["early"], parts["best"]
        self.earlier = {int(part.removeprefix(AT)): parts[part] for part in parts if part.startswith(AT)}
        vars(self).update(facts)

    def look(self, held_out: float, over: Callable[[], bool]) -> str:
        """Append the losses to the history as a row, keep the average where it matters, and return the losses as text.

        Earlier averages are those of the first, second, fourth, eighth ... look, and that of the last: `over` tells
        whether training ends with this look.
        """
        mean = float(np.mean(self.since))
        self.history.append(dict(images_seen=self.seen, train_loss=round(mean, 6), held_out_loss=round(held_out, 6)))
        self.since = []
        if self.best_loss is None or held_out < self.best_loss:
            self.best_loss, self.best_seen = held_out, self.seen
            self.weights = copy.deepcopy(self.average.state_dict())
        if len(self.history).bit_count() == 1 or over():
            self.earlier[self.seen] = {name: tensor.half() for name, tensor in self.average.state_dict().items()}
        return f"loss {mean:.4f}, held out {held_out:.4f}"


def train(task: Task, device: torch.device, piece: Piece = NOTHING_KEPT, processes: Processes = ALONE) -> State:
    """Train a denoiser, from the state in `piece` if there is one.

    Raises `UserError` when the loss is not finite or the batch does not fit the memory.
    """
    parameters = task.parameters
    state = begin(task, device)
    if kept := piece.read():
        state.restore(*kept)
    denoiser = state.denoiser
    batches = Batches(task.train_set, denoiser.configuration.scanners, parameters, device)
    parts = Parts(task.threads if device.type == "cpu" else processes.count, processes)
    progress = Progress("denoiser", parameters.images_seen, "images seen")
    progress(state.seen)
    while not is_over(state, parameters):
        before, step = state.seen, state.seen // parameters.batch_size
        batch = batches.draw(seeds.derive(task.root_seed, "denoiser batch", task.replicate, step))
        dropout_seeds = [seeds.derive(task.root_seed, f"denoiser dropout {part}", task.replicate, step)
                         for part in range(parts.n)]
        loss = backward(denoiser, batch, parameters, parts, dropout_seeds)
        if not np.isfinite(loss):
            raise UserError(f"the denoiser's loss is {loss} at step {step} ({state.seen} images seen): lower "
                            "train_diffusion.learning_rate in params.yaml.")
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), GRADIENT_NORM)
        state.optimiser.param_groups[0]["lr"] = learning_rate(state.seen, parameters)
        state.optimiser.step()
        state.optimiser.zero_grad(set_to_none=True)
        state.seen += parameters.batch_size
        halflife = min(parameters.ema_halflife_images, EMA_RAMP_FRACTION * state.seen)
        move_average(state.average, denoiser, keep=0.5 ** (parameters.batch_size / halflife))
        if before < parameters.early_average_fraction * parameters.images_seen <= state.seen:
            state.early = copy.deepcopy(state.average.state_dict())
        state.since.append(loss)
        progress(state.seen)

        every = parameters.held_out_every_images
        if state.seen >= parameters.images_seen or state.seen // every > before // every:
            held_out = held_out_loss(state.average, task, device, parts)
            progress(state.seen, state.look(held_out, partial(is_over, state, parameters)))
        finished = is_over(state, parameters)
        if processes.rank == 0 and (finished or piece.due()):
            state.keep(piece, finished)
    return state


def begin(task: Task, device: torch.device) -> State:
    """Return the state before the first step."""
    parameters = task.parameters
    scanners = sorted(set(task.train_set.scanners.tolist()) - {""}) if parameters.scanner_condition else ()
    configuration = configure(task.train_set, parameters, tuple(scanners))
    torch.manual_seed(seeds.derive(task.root_seed, "denoiser initialisation", task.replicate))
    denoiser, before = Denoiser(configuration), ()  # type: tuple[Denoiser, tuple[str, ...]]
    if parameters.pretrained:
        before = load_pretrained(denoiser, parameters.pretrained, task.pretrained)
    denoiser.configuration = replace(configuration, learned_from=tuple(dict.fromkeys((*before, task.learned_from))))
    # On a GPU convolutions in bfloat16 are faster with channels last; on a CPU the layout makes no difference.
    denoiser = denoiser.to(device,  # type: ignore[call-overload]
                           memory_format=torch.channels_last if device.type == "cuda" else torch.preserve_format)
    average = copy.deepcopy(denoiser).eval()
    if parameters.compile:
        denoiser.unet.compile(dynamic=False)  # in place: its weights keep their names
    return State(denoiser, average, torch.optim.AdamW(denoiser.parameters(), lr=parameters.learning_rate,
                                                      betas=(0.9, 0.99), weight_decay=0.0, fused=True))


def backward(denoiser: Denoiser, batch: Batch, parameters: TrainDiffusion, parts: Parts, dropout_seeds: list[int]
             ) -> float:
    """Set the gradients of the mean loss of a batch, and return that loss; out of memory raises `UserError`."""
    clean, device = denoiser.normalise(batch.images), batch.images.device.type

    def losses(rows: slice) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=parameters.precision == "bfloat16"):
            return loss_per_image(denoiser, clean[rows], batch.noise[rows], batch.sigma[rows],
                                  batch.conditions.of(rows))

    size = parameters.batch_size
    while size:
        try:
            loss = parts.backward(denoiser, losses, size, dropout_seeds)
            if size == parameters.batch_size:
                return loss
            break
        except torch.OutOfMemoryError:
            size //= 2
    raise UserError(f"train_diffusion.batch_size {parameters.batch_size} needs more memory than the {device} has: "
                    f"{f'{size} fits' if size else 'not even 1 fits'}; change it in params.yaml.")


def is_over(state: State, parameters: TrainDiffusion) -> bool:
    """Return whether all images were seen, or the held-out loss has not fallen for `patience_images`."""
    waited = state.seen - state.best_seen if state.history else 0
    return state.seen >= parameters.images_seen or waited >= parameters.patience_images


def configure(train_set: LabelledImages, parameters: TrainDiffusion, scanners: tuple[str, ...]) -> Configuration:
    """Return the denoiser's configuration for these images."""
    network = parameters.network
    mean, deviation = mean_and_deviation(train_set.images)
    return Configuration(train_set.images.shape[1], network.unshuffle, tuple(network.channels),
                         network.layers_per_block, tuple(network.attention_at), network.dropout, train_set.classes,
                         scanners, round(mean, 6), round(deviation, 6))


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
    parameters, held_out = task.parameters, task.looked_at
    images = held_out.images                                                        # uint8 [N, H, W]
    conditions = plain_conditions(torch.tensor(held_out.labels), held_out.scanners, denoiser.configuration.scanners)
    sigmas = noise_levels_at((torch.arange(HELD_OUT_LEVELS, dtype=torch.float64) + 0.5) / HELD_OUT_LEVELS, parameters)

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
