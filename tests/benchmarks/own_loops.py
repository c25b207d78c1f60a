"""Show what the parts of a batch save on CPUs (src/synthplanes/diffusion/parts.py), against torch's own threads.

    python tests/benchmarks/own_loops.py [--profile phantom] [--rounds 12]

One step of the denoiser's training (forward, backward, clipped norm, AdamW, average of the weights) on random images
of the profile's size and batch is timed on as many threads as the profile has: in parts with a thread each, with
torch's intra-op threads and torch's dropout, and on one thread. The ways take turns; printed are medians and the
paired ratios of their times to those of the parts. On idle cores parts and threads take the same time; where another
process holds a core, torch's threads wait for one another after every operation and parts do not. About half a minute
on two cores.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion import training
from synthplanes.diffusion.batches import Batches
from synthplanes.diffusion.denoiser import Denoiser, loss_per_image
from synthplanes.diffusion.parts import Dropout, Parts
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    parameters, threads, device = profile.train_diffusion, profile.compute.threads, prepare_torch(threads=1)
    images = random_images(profile.prepare.image_size, 2 * parameters.batch_size)
    batch = Batches(images, ("x", "y"), parameters, device).draw(seed=0)
    parts, seeds = Parts(threads), list(range(threads))

    def in_parts(denoiser: Denoiser) -> None:
        training.backward(denoiser, batch, parameters, parts, seeds)

    def whole(denoiser: Denoiser) -> None:
        clean = denoiser.normalise(batch.images)
        loss_per_image(denoiser, clean, batch.noise, batch.sigma, batch.conditions).mean().backward()

    ways = {"parts": Step(images, parameters, in_parts, 1),
            f"{threads} threads of torch": Step(images, parameters, whole, threads),
            "1 thread": Step(images, parameters, whole, 1)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        ratios = np.array(times) / seconds["parts"]
        print(f"{name:20} {np.median(times):7.3f} s a step, {np.median(ratios):5.2f} times that of parts "
              f"({ratios.min():.2f} to {ratios.max():.2f}, n {len(ratios)}), least {min(times):.3f} s")


class Step:
    """One training step of a denoiser of its own."""

    def __init__(self, images: LabelledImages, parameters, backward: Callable[[Denoiser], None], threads: int):
        self.denoiser = Denoiser(training.configure(images, parameters, ("x", "y")))
        if threads > 1 or backward.__name__ == "whole":
            torchs_dropout(self.denoiser)
        self.average, self.backward, self.threads = copy.deepcopy(self.denoiser), backward, threads
        self.optimiser = torch.optim.AdamW(self.denoiser.parameters(), lr=parameters.learning_rate, fused=True)

    def __call__(self) -> None:
        torch.set_num_threads(self.threads)
        self.optimiser.zero_grad(set_to_none=True)
        self.backward(self.denoiser)
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), training.GRADIENT_NORM)
        self.optimiser.step()
        training.move_average(self.average, self.denoiser, 0.999)


def torchs_dropout(network: nn.Module) -> None:
    """Put torch's dropout back, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))


def random_images(size: int, n: int) -> LabelledImages:
    """uint8 [n, size, size], of six classes and two scanners."""
    images = np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)
    return LabelledImages(images, np.arange(n) % 6, np.array(list("xy") * (n // 2)), np.arange(n).astype(str),
                          tuple("abcdef"))


if __name__ == "__main__":
    run(main)
