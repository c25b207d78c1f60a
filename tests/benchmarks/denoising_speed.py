"""How soon our training denoises as well as the diffusers example script does when it is through.

    python tests/benchmarks/denoising_speed.py [--profile phantom] [--root-seed 1]

Both train the profile's network on its scarce budget (a phantom population of another root seed), each in a process of
one thread, side by side; ours sees as many images as the script does. The peer is the loop of diffusers'
examples/unconditional_image_generation/train_unconditional.py at its defaults (batch 16, 100 epochs, AdamW 1e-4 with
betas .95 and .999, 500 steps of warm-up and a cosine, 1,000 linear steps, epsilon, average of the weights), told the
class and the scanner as ours is. Reading and scaling images from files is left out, in its favour, and of its weights
and their average the better ones count.

Judged on the images of patients that neither has seen: squared error of the denoised image (an estimate of epsilon is
turned into one) at noise levels spread evenly over the logarithm, the same images, levels and noise for both. Told is
when ours is as good in the geometric mean over levels, and when it is as good at every single one: an estimate of
epsilon is poor at high levels by its nature, so the mean alone would flatter. The clock stands still while this is
measured. About 15 minutes.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from measured import keep
from phantom_yardsticks import population
from torch.nn import functional

from synthplanes.command import run
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.devices import prepare_torch
from synthplanes.diffusion import training
from synthplanes.diffusion.augmentation import N_AUGMENTATIONS
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import SIGMA_D, Denoiser
from synthplanes.protocol import Profile, read_profile
from synthplanes.torchvision_operators import declare_missing

EPOCHS, BATCH, RATE, WARM_UP_STEPS, STEPS = 100, 16, 1e-4, 500, 1000  # the script's defaults
LEVELS = np.geomspace(0.05, 10, 8)  # of noise, where images lie in [-1, 1]
HELD_OUT = 120                      # images
LOOKS = 40                          # over each training


@dataclass
class Trajectory:
    """What one training did: a row per look."""

    image_passes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: list[list[float]] = field(default_factory=list)  # per level

    def score(self) -> np.ndarray:
        """Geometric mean over levels, per look."""
        return np.exp(np.log(self.errors).mean(axis=1))


class Clock:
    """Seconds of training: it stands still inside `with clock.stopped()`."""

    def __init__(self):
        self.start, self.idle = time.perf_counter(), 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self.start - self.idle

    def since(self, moment: float) -> None:
        self.idle += time.perf_counter() - moment


@dataclass(frozen=True)
class Judge:
    """The same held-out images, levels and noise for both."""

    images: torch.Tensor      # float32 [N, 1, H, W] in [-1, 1]
    conditions: Conditions
    levels: tuple[float, ...]

    def errors(self, denoise) -> list[float]:
        """Mean squared error per level; `denoise(noisy, level)` -> clean, all in [-1, 1] and beyond."""
        found = []
        for number, level in enumerate(self.levels):
            noise = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(number))
            with torch.no_grad():
                clean = denoise(self.images + level * noise, level)
            found.append(float((clean - self.images).square().mean()))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    with tempfile.TemporaryDirectory() as folder:
        population(profile, arguments.root_seed, Path(folder))
        real = read_budget(Path(folder), next(iter(profile.used_budgets())), 0, "train")
        held_out = read_all(Path(folder) / "fresh", read_classes(Path(folder))).first(HELD_OUT)
    ours, theirs = joblib.Parallel(n_jobs=2)(
        joblib.delayed(one)(profile, real, held_out, arguments.root_seed) for one in (train_ours, train_theirs))
    keep("denoising", compared(ours, theirs) | dict(
        n_train=len(real), n_held_out=len(held_out), noise_levels=[round(float(level), 4) for level in LEVELS]))


def compared(ours: Trajectory, theirs: Trajectory) -> dict:
    """Where each stands at the script's best moment and when ours was first as good, in the mean and at every level."""
    at = int(theirs.score().argmin())
    errors = np.array(ours.errors)
    as_good = {"in_the_geometric_mean": ours.score() <= theirs.score()[at],
               "at_every_level": (errors <= np.array(theirs.errors[at])).all(axis=1)}
    found = dict(script=dict(image_passes=theirs.image_passes[at], seconds=round(theirs.seconds[at], 1),
                             error_per_level=[round(error, 6) for error in theirs.errors[at]]),
                 ours_at_its_end=dict(image_passes=ours.image_passes[-1], seconds=round(ours.seconds[-1], 1),
                                      error_per_level=[round(error, 6) for error in ours.errors[-1]]))
    for name, reached in as_good.items():
        first = int(reached.argmax())
        found[f"ours_as_good_{name}"] = None if not reached.any() else dict(
            image_passes=ours.image_passes[first], seconds=round(ours.seconds[first], 1),
            times_less_time=round(theirs.seconds[at] / ours.seconds[first], 2),
            times_fewer_image_passes=round(theirs.image_passes[at] / ours.image_passes[first], 2))
    print(found)
    return found


def judge_of(held_out: LabelledImages, scanners: tuple[str, ...]) -> Judge:
    """Levels are those of the script's steps, so that nobody has to interpolate."""
    sigma = levels_of_steps()
    nearest = [float(sigma[(sigma.log() - np.log(level)).abs().argmin()]) for level in LEVELS]
    return Judge(torch.from_numpy(to_float(held_out.images)).unsqueeze(1), conditions_of(held_out, scanners),
                 tuple(nearest))


def conditions_of(images: LabelledImages, scanners: tuple[str, ...]) -> Conditions:
    """What both are told about these images."""
    known = {name: number for number, name in enumerate(scanners)}
    return Conditions(torch.from_numpy(images.labels),
                      torch.tensor([known.get(name, len(known)) for name in images.scanners.tolist()]),
                      torch.zeros(len(images), N_AUGMENTATIONS))


def levels_of_steps() -> torch.Tensor:
    """float64 [1000]: the noise level of each step of the script, in units of clean images."""
    declare_missing()
    from diffusers import DDPMScheduler
    kept = DDPMScheduler(num_train_timesteps=STEPS).alphas_cumprod.double()
    return ((1 - kept) / kept).sqrt()


def train_ours(profile: Profile, real: LabelledImages, held_out: LabelledImages, root: int) -> Trajectory:
    """The profile's training; its looks at held-out images are replaced by the judge's."""
    device = prepare_torch(threads=1)
    found, clock = Trajectory(), Clock()
    size = profile.train_diffusion.batch_size
    seen = len(real) * EPOCHS // size * size
    every = max(seen // LOOKS // size, 1) * size
    parameters = profile.train_diffusion.model_copy(update=dict(images_seen=seen, held_out_every_images=every))
    judge = judge_of(held_out, tuple(sorted(set(real.scanners.tolist()) - {""})))

    def look(average: Denoiser, *_) -> float:
        moment = time.perf_counter()
        c = average.configuration
        scale = SIGMA_D / c.data_deviation

        def denoise(noisy: torch.Tensor, level: float) -> torch.Tensor:
            sigma = torch.full((len(noisy),), level * scale)
            return average((noisy - c.data_mean) * scale, sigma, judge.conditions) / scale + c.data_mean

        found.seconds.append(clock())
        found.errors.append(judge.errors(denoise))
        found.image_passes.append(min(every * len(found.errors), seen))
        clock.since(moment)
        return found.errors[-1][0]

    training.held_out_loss = look
    training.train(real, held_out, parameters, root, 0, device)
    return found


def train_theirs(profile: Profile, real: LabelledImages, held_out: LabelledImages, root: int) -> Trajectory:
    """The example script's loop."""
    declare_missing()
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel
    prepare_torch(threads=1)
    torch.manual_seed(root)
    scanners = tuple(sorted(set(real.scanners.tolist()) - {""}))
    judge, sigmas = judge_of(held_out, scanners), levels_of_steps()
    # The script's network has no dropout.
    denoiser = Denoiser(replace(training.configure(real, profile.train_diffusion, scanners), dropout=0.0))
    shuffle, model = denoiser.configuration.unshuffle, denoiser.unet
    images = torch.from_numpy(to_float(real.images)).unsqueeze(1)
    told = conditions_of(real, scanners)
    scheduler = DDPMScheduler(num_train_timesteps=STEPS)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    per_epoch = -(-len(images) // BATCH)
    rate = get_scheduler("cosine", optimiser, num_warmup_steps=WARM_UP_STEPS, num_training_steps=per_epoch * EPOCHS)
    average = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    found, clock, seen = Trajectory(), Clock(), 0

    def epsilon(noisy: torch.Tensor, steps: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        inside = functional.pixel_unshuffle(noisy, shuffle)
        return functional.pixel_shuffle(model(inside, steps, class_labels=conditions).sample, shuffle)

    def denoise(noisy: torch.Tensor, level: float) -> torch.Tensor:
        step = int((sigmas - level).abs().argmin())
        kept = scheduler.alphas_cumprod[step]
        estimate = epsilon(noisy * kept.sqrt(), torch.full((len(noisy),), step), judge.conditions)
        return noisy - level * estimate

    def look() -> None:
        moment = time.perf_counter()
        model.eval()
        plain = judge.errors(denoise)
        average.store(model.parameters())
        average.copy_to(model.parameters())
        averaged = judge.errors(denoise)
        average.restore(model.parameters())
        model.train()
        found.seconds.append(moment - clock.start - clock.idle)
        found.errors.append(min(plain, averaged, key=lambda errors: np.log(errors).mean()))
        found.image_passes.append(seen)
        clock.since(moment)

    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images))
        for start in range(0, len(images), BATCH):
            rows = order[start:start + BATCH]
            clean = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, images[rows].flip(3), images[rows])
            noise, steps = torch.randn(clean.shape), torch.randint(0, STEPS, (len(rows),))
            loss = functional.mse_loss(epsilon(scheduler.add_noise(clean, noise, steps), steps, told.of(rows)), noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            average.step(model.parameters())
            optimiser.zero_grad()
            seen += len(rows)
        if (epoch + 1) % (2 * EPOCHS // LOOKS) == 0:
            look()
            print(f"script: epoch {epoch + 1} of {EPOCHS}, {found.seconds[-1]:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    run(main)
