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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from diffusers_script import EPOCHS, Script, conditions_of, levels_of_steps
from measured import keep
from phantom_yardsticks import population

from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.images import to_float
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.diffusion import training
from synthplanes.diffusion.conditions import Conditions
from synthplanes.diffusion.denoiser import SIGMA_D, Denoiser
from synthplanes.protocol.profiles import Profile, read_profile

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
    prepare_torch(threads=1)
    script = Script(profile, real, EPOCHS, root, torch.device("cpu"))
    judge = judge_of(held_out, script.scanners)
    found, clock, seen = Trajectory(), Clock(), 0

    def look() -> None:
        moment = time.perf_counter()
        plain = judge.errors(partial(script.denoise, conditions=judge.conditions))
        with script.averaged():
            averaged = judge.errors(partial(script.denoise, conditions=judge.conditions))
        found.seconds.append(moment - clock.start - clock.idle)
        found.errors.append(min(plain, averaged, key=lambda errors: np.log(errors).mean()))
        found.image_passes.append(seen)
        clock.since(moment)

    for epoch in range(EPOCHS):
        for rows in script.epoch():
            script.step(rows)
            seen += len(rows)
        if (epoch + 1) % (2 * EPOCHS // LOOKS) == 0:
            look()
            print(f"script: epoch {epoch + 1} of {EPOCHS}, {found.seconds[-1]:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    run(main)
