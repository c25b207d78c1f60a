"""Measure how soon our training denoises as well as the diffusers example script does at its end.

    python tests/benchmarks/denoising_speed.py [--profile phantom] [--root-seed 1]

Both train the profile's network on its scarce budget (a phantom population of another root seed), each in a process of
one thread, in parallel; ours is given as many images as the script's loop. The peer is the loop of diffusers'
examples/unconditional_image_generation/train_unconditional.py at its defaults (batch 16, 100 epochs, AdamW 1e-4 with
betas .95 and .999, 500 steps of warm-up and a cosine, 1,000 linear steps, epsilon, average of the weights), conditioned
on the class and the scanner as ours is. Reading and scaling images from files is left out, in its favour, and of its
weights and their average the better ones count.

The measure is the squared error of denoised images of patients that neither has trained on (an estimate of epsilon is
turned into an image), at noise levels spread evenly over the logarithm, with the same images, levels and noise for
both. Reported is when ours is as good in the geometric mean over levels, and when it is as good at every single level:
an estimate of epsilon is poor at high levels by its nature, so the mean alone would flatter ours. The clock stands
still while the error is measured. Writes `denoising` into artifacts/benchmarks.json: about 15 minutes.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import joblib
import numpy as np
import torch
from diffusers_script import EPOCHS, Script, conditions_of, levels_of_steps
from measured import FILE, keep
from phantom_yardsticks import population

from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import SIGMA_D, Conditions, Denoiser
from synthplanes.protocol.profiles import Profile, read_profile

LEVELS = np.geomspace(0.05, 10, 8)  # of noise, where images lie in [-1, 1]
HELD_OUT = 120                      # images
LOOKS = 40                          # over each training


@dataclass
class Trajectory:
    """The course of one training: an entry for each look."""

    image_passes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: list[list[float]] = field(default_factory=list)  # per level

    def score(self) -> np.ndarray:
        """Return the geometric mean over levels, for each look."""
        return np.exp(np.log(self.errors).mean(axis=1))


class Clock:
    """Count the seconds of training, without those that `leave_out` takes off."""

    def __init__(self):
        self.start, self.idle = time.perf_counter(), 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self.start - self.idle

    def leave_out(self, since: float) -> None:
        """Take off the time that has passed since a moment of `time.perf_counter`."""
        self.idle += time.perf_counter() - since


@dataclass(frozen=True)
class HeldOut:
    """Held-out images, with the noise levels at which both are measured."""

    images: torch.Tensor      # float32 [N, 1, H, W] in [-1, 1]
    conditions: Conditions
    levels: tuple[float, ...]

    def errors(self, denoise: Callable[[torch.Tensor, float], torch.Tensor]) -> list[float]:
        """Return the mean squared error at each level; `denoise(noisy, level)` returns clean images.

        Images lie in [-1, 1], noisy ones beyond, and the noise is always the same.
        """
        errors = []
        for number, level in enumerate(self.levels):
            noise = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(number))
            with torch.no_grad():
                clean = denoise(self.images + level * noise, level)
            errors.append(float((clean - self.images).square().mean()))
        return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    with tempfile.TemporaryDirectory() as folder:
        population(profile, arguments.root_seed, Path(folder))
        real = read_budget(Path(folder), profile.scarce_budget, 0, "train")
        held_out = read_all(Path(folder) / "fresh", read_classes(Path(folder))).first(HELD_OUT)
    ours, theirs = joblib.Parallel(n_jobs=2)(
        joblib.delayed(train)(profile, real, held_out, arguments.root_seed) for train in (train_ours, train_theirs))
    keep("denoising", compared(ours, theirs) | dict(
        n_train=len(real), n_held_out=len(held_out), noise_levels=[round(float(level), 4) for level in LEVELS]),
        arguments.out)


def compared(ours: Trajectory, theirs: Trajectory) -> dict[str, Any]:
    """Return where each stands at the script's best moment, and when ours was first as good."""
    at = int(theirs.score().argmin())
    errors = np.array(ours.errors)
    as_good = {"in_the_geometric_mean": ours.score() <= theirs.score()[at],
               "at_every_level": (errors <= np.array(theirs.errors[at])).all(axis=1)}
    result: dict[str, Any] = dict(
        script=dict(image_passes=theirs.image_passes[at], seconds=round(theirs.seconds[at], 1),
                    error_per_level=[round(error, 6) for error in theirs.errors[at]]),
        ours_at_its_end=dict(image_passes=ours.image_passes[-1], seconds=round(ours.seconds[-1], 1),
                             error_per_level=[round(error, 6) for error in ours.errors[-1]]))
    for name, reached in as_good.items():
        first = int(reached.argmax())
        result[f"ours_as_good_{name}"] = None if not reached.any() else dict(
            image_passes=ours.image_passes[first], seconds=round(ours.seconds[first], 1),
            times_less_time=round(theirs.seconds[at] / ours.seconds[first], 2),
            times_fewer_image_passes=round(theirs.image_passes[at] / ours.image_passes[first], 2))
    print(result)
    return result


def held_out_at_steps(images: LabelledImages, scanners: tuple[str, ...]) -> HeldOut:
    """Return the images with those noise levels of the script's steps that are nearest to LEVELS."""
    sigma = levels_of_steps()
    nearest = [float(sigma[(sigma.log() - np.log(level)).abs().argmin()]) for level in LEVELS]
    return HeldOut(torch.from_numpy(to_float(images.images)).unsqueeze(1), conditions_of(images, scanners),
                   tuple(nearest))


def train_ours(profile: Profile, real: LabelledImages, images: LabelledImages, root: int) -> Trajectory:
    """Train as the profile does; its looks at held-out images are replaced by ours."""
    device = prepare_torch(threads=1)
    size = profile.train_diffusion.batch_size
    seen = len(real) * EPOCHS // size * size
    every = max(seen // LOOKS // size, 1) * size
    parameters = profile.train_diffusion.model_copy(update=dict(images_seen=seen, held_out_every_images=every))
    held_out = held_out_at_steps(images, tuple(sorted(set(real.scanners.tolist()) - {""})))
    trajectory, clock = Trajectory(), Clock()

    def look(average: Denoiser, *_) -> float:
        moment = time.perf_counter()
        c = average.configuration
        scale = SIGMA_D / c.data_deviation

        def denoise(noisy: torch.Tensor, level: float) -> torch.Tensor:
            sigma = torch.full((len(noisy),), level * scale)
            return average((noisy - c.data_mean) * scale, sigma, held_out.conditions) / scale + c.data_mean

        trajectory.seconds.append(clock())
        trajectory.errors.append(held_out.errors(denoise))
        trajectory.image_passes.append(min(every * len(trajectory.errors), seen))
        clock.leave_out(moment)
        return trajectory.errors[-1][0]

    with patch.object(training, "held_out_loss", look):
        training.train(training.Task(real, images, parameters, root), device)
    return trajectory


def train_theirs(profile: Profile, real: LabelledImages, images: LabelledImages, root: int) -> Trajectory:
    """Train as the example script does."""
    prepare_torch(threads=1)
    script = Script(profile, real, EPOCHS, root, torch.device("cpu"))
    held_out = held_out_at_steps(images, script.scanners)
    trajectory, clock, seen = Trajectory(), Clock(), 0

    def look() -> None:
        moment = time.perf_counter()
        plain = held_out.errors(partial(script.denoise, conditions=held_out.conditions))
        with script.averaged():
            averaged = held_out.errors(partial(script.denoise, conditions=held_out.conditions))
        trajectory.seconds.append(moment - clock.start - clock.idle)
        trajectory.errors.append(min(plain, averaged, key=lambda errors: np.log(errors).mean()))
        trajectory.image_passes.append(seen)
        clock.leave_out(moment)

    for epoch in range(EPOCHS):
        for rows in script.epoch():
            script.step(rows)
            seen += len(rows)
        if (epoch + 1) % (2 * EPOCHS // LOOKS) == 0:
            look()
            print(f"script: epoch {epoch + 1} of {EPOCHS}, {trajectory.seconds[-1]:.0f} s", flush=True)
    return trajectory


if __name__ == "__main__":
    run(main)
