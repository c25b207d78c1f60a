"""Measure what a short solver costs in likeness and saves in time, beside Heun's 79 evaluations and DDPM's 1,000.

    python tests/benchmarks/sampling_speed.py [--profile phantom]

It draws from the profile's trained generator (`dvc repro` first) without guidance, with the same noise for all: with
the profile's own solver and steps, with other numbers of its steps, and with Heun's method at 40 levels (79
evaluations), which is taken as converged. Likeness is the Frechet distance between Gaussian fits of features of the
drawn and of fresh images; they are those of the audit's label classifier, trained on fresh phantom patients, before its
last layer. `against_fresh` is that distance, `of_heun` its ratio to Heun's. Images a second are measured on one batch
per core, three times in turn; those of DDPM's 1,000 ancestral steps on a few images, as time is proportional to
evaluations. Writes `sampling` into artifacts/benchmarks.json: about 12 minutes.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import FILE, keep
from scipy.linalg import sqrtm

from synthplanes import seeds
from synthplanes.classification.fitting import Portion, TrainingStage, fit
from synthplanes.classification.networks import build
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.compute.draws import class_balanced
from synthplanes.data.images import mean_and_deviation, to_float
from synthplanes.data.selection import LabelledImages, read_all, read_budget, read_classes
from synthplanes.diffusion.denoiser import Denoiser, read_denoiser
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
HEUN = dict(solver="heun", steps=40)
TIMED = 40   # images per core
ROUNDS = 3


@dataclass(frozen=True)
class Generator:
    """A trained generator, with all that drawing from it needs."""

    profile: Profile
    denoiser: Denoiser
    real: LabelledImages    # its training images
    device: torch.device

    def draw(self, images_per_class: int, **changes: Any) -> tuple[np.ndarray, int]:
        """Draw without guidance, with values of the sample section changed: uint8 [N, H, W], evaluations per image."""
        profile = self.profile
        sample = profile.sample.model_copy(update=dict(guidance="none") | changes)
        index = list_images(self.real, self.denoiser.configuration.scanners, images_per_class, profile.scarce_budget, 0,
                            profile.replication.root_seed)
        drawn = Sampler(self.denoiser, None, sample, self.device, profile.compute.processes).draw(index)
        return drawn.images, drawn.passes["forward"] // len(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--images-per-class", type=int, default=150)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    profile, paths = read_profile(arguments.profile), Paths(arguments.profile, ROOT)
    device = prepare_torch(threads=1)
    generator = Generator(profile, read_denoiser(paths.replicate("generator", profile.scarce_budget, 0)),
                          read_budget(paths.prepared, profile.scarce_budget, 0, "train"), device)
    fresh = read_all(paths.prepared / "fresh", read_classes(paths.prepared))
    own = f"{profile.sample.solver}-{profile.sample.steps}"
    distances = distances_of(generator, fresh, arguments.images_per_class)
    speeds = speeds_of(generator, own)
    keep("sampling", dict(profile=arguments.profile, distances=distances, images_per_second={
        name: [round(value, 3) for value in values] for name, values in speeds.items()}, times_faster_than={
        name: round(float(np.median(speeds[own]) / np.median(speeds[name])), 1)
        for name in ("heun-40", "ancestral-1000")}), arguments.out)
    for name, row in distances.items():
        print(name, row)
    print(speeds)


def distances_of(generator: Generator, fresh: LabelledImages, images_per_class: int) -> dict[str, dict[str, Any]]:
    """Return the Frechet distance to fresh images, and its ratio to Heun's, for every way of drawing."""
    sample = generator.profile.sample
    ways = {f"{sample.solver}-{steps}": dict(steps=steps) for steps in (6, 8, 12, sample.steps, 36)} | {"heun-40": HEUN}
    half = len(fresh) // 2  # the label classifier learns from one half; drawn images are compared with the other
    features = features_by(generator.profile, fresh.first(half))
    reference = gaussian(features(fresh.images[half:]), class_balanced(fresh.labels[half:]))
    distances: dict[str, dict[str, Any]] = {}
    for name, changes in ways.items():
        images, evaluations = generator.draw(images_per_class, **changes)
        distances[name] = dict(evaluations=evaluations, n=len(images),
                               against_fresh=round(frechet(gaussian(features(images)), reference), 4))
    for row in distances.values():
        row["of_heun"] = round(row["against_fresh"] / distances["heun-40"]["against_fresh"], 4)
    return distances


def speeds_of(generator: Generator, own: str) -> dict[str, list[float]]:
    """Return images a second of the profile's own solver (named `own`), Heun's and DDPM's, in every round."""
    processes, n_classes = generator.profile.compute.processes, len(generator.real.classes)
    speeds: dict[str, list[float]] = {own: [], "heun-40": [], "ancestral-1000": []}
    per_class = -(-TIMED * processes // n_classes)
    for _ in range(ROUNDS):
        for name, few, changes in ((own, per_class, {}), ("heun-40", per_class, HEUN),
                                   ("ancestral-1000", 1, dict(solver="ancestral", steps=1000))):
            start = time.perf_counter()
            images, _ = generator.draw(few, batch_size=max(1, few * n_classes // processes), **changes)
            speeds[name].append(len(images) / (time.perf_counter() - start))
    return speeds


def features_by(profile: Profile, train_set: LabelledImages) -> Callable[[np.ndarray], np.ndarray]:
    """Train the audit's label classifier, and return its pooled features: uint8 [N, H, W] -> float64 [N, D]."""
    torch.manual_seed(seeds.derive(profile.replication.root_seed, "judge initialisation", 0))
    network = build(profile.audit.label_classifier, len(train_set.classes), train_set.images.shape[1],
                    *mean_and_deviation(train_set.images))
    fit(network, TrainingStage([Portion(train_set, profile.audit.batch_size, True)], profile.audit.updates,
                               profile.audit.label_classifier.learning_rate, order_seed=0), profile.recipe,
        torch.device("cpu"))
    network.eval()

    def pooled(images: torch.Tensor) -> torch.Tensor:
        inside = network.body.forward_features((images - network.mean) / network.deviation)
        return network.body.forward_head(inside, pre_logits=True)

    def features(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([pooled(torch.from_numpy(to_float(part)).unsqueeze(1)).double().numpy()
                                   for part in np.array_split(images, -(-len(images) // 256))])
    return features


def gaussian(features: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance; drawn images are as many of every class, others are weighted so."""
    return np.average(features, axis=0, weights=weights), np.cov(features, rowvar=False, aweights=weights)


def frechet(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    """Compute the distance of two Gaussians, (mean, covariance) each: Heusel 2017, equation 6."""
    (m, c), (n, d) = first, second
    return float(((m - n) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real))


if __name__ == "__main__":
    run(main)
