"""What a short solver costs in likeness and saves in time, beside Heun's 79 evaluations and DDPM's 1,000.

    python tests/benchmarks/sampling_speed.py [--profile phantom]

It draws from the profile's trained generator (`dvc repro` first) without guidance, the same noise for all: the
profile's own solver and steps, other numbers of its steps, and Heun's method at 40 levels (79 evaluations), which is
taken as converged. Likeness is the Frechet distance between Gaussian fits of a judge's features (the audit's net,
trained on fresh phantom patients; its last layer but one) of the drawn and of fresh images. `against_fresh` is that
distance, `of_heun` its ratio to Heun's. Images a second are measured side by side on one batch per core, three times in
turn, DDPM's 1,000 ancestral steps on a few images (time is proportional to evaluations). About 12 minutes.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measured import keep

from synthplanes import seeds
from synthplanes.classification.fitting import Portion, class_balanced, fit
from synthplanes.classification.networks import build
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.images import to_float
from synthplanes.data.selection import read_all, read_budget, read_classes
from synthplanes.diffusion.denoiser import read_denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.protocol.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
HEUN = dict(solver="heun", steps=40)
TIMED = 40   # images per core
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--images-per-class", type=int, default=150)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    budget = next(iter(profile.used_budgets()))
    prepared = ROOT / "artifacts" / "prepared" / arguments.profile
    denoiser = read_denoiser(ROOT / "artifacts" / "generator" / arguments.profile / budget / "r0")
    device = prepare_torch(threads=1)
    real, fresh = read_budget(prepared, budget, 0, "train"), read_all(prepared / "fresh", read_classes(prepared))
    own = profile.sample.model_copy(update=dict(guidance="none"))
    ways = {f"{own.solver}-{steps}": dict(steps=steps) for steps in (6, 8, 12, own.steps, 36)} | {"heun-40": HEUN}

    def drawn(images_per_class: int, **changes) -> tuple[np.ndarray, int]:
        sample = own.model_copy(update=dict(images_per_class=images_per_class) | changes)
        index = plan(real, denoiser.configuration.scanners, sample, budget, 0, profile.replication.root_seed)
        images, forward, _ = draw(denoiser, None, index, sample, device, profile.compute.processes)
        return images, forward // len(index)

    half = len(fresh) // 2  # one half teaches the judge, the other is what drawn images are held against
    features = features_by(profile, fresh.first(half))
    reference = gaussian(features(fresh.images[half:]), class_balanced(fresh.labels[half:]))
    found = {}
    for name, changes in ways.items():
        images, evaluations = drawn(arguments.images_per_class, **changes)
        found[name] = dict(evaluations=evaluations, n=len(images),
                           against_fresh=round(frechet(gaussian(features(images)), reference), 4))
    for name in found:
        found[name]["of_heun"] = round(found[name]["against_fresh"] / found["heun-40"]["against_fresh"], 4)
    own_name = f"{own.solver}-{own.steps}"
    speeds = {name: [] for name in (own_name, "heun-40", "ancestral-1000")}
    per_class = -(-TIMED * profile.compute.processes // len(real.classes))
    for _ in range(ROUNDS):
        for name, few, changes in ((own_name, per_class, {}), ("heun-40", per_class, HEUN),
                                   ("ancestral-1000", 1, dict(solver="ancestral", steps=1000))):
            start = time.perf_counter()
            images, evaluations = drawn(few, batch_size=max(1, few * len(real.classes) // profile.compute.processes),
                                        **changes)
            speeds[name].append(len(images) / (time.perf_counter() - start))
    keep("sampling", dict(profile=arguments.profile, distances=found, images_per_second={
        name: [round(value, 3) for value in values] for name, values in speeds.items()}, times_faster_than={
        name: round(float(np.median(speeds[own_name]) / np.median(speeds[name])), 1)
        for name in ("heun-40", "ancestral-1000")}))
    for name, row in found.items():
        print(name, row)
    print(speeds)


def features_by(profile: Profile, learned_from):
    """uint8 [N, H, W] -> float64 [N, D]: the pooled features of a judge trained on those images."""
    pixels = to_float(learned_from.images).astype(np.float64)
    torch.manual_seed(seeds.derive(profile.replication.root_seed, "judge initialisation", 0))
    network = build(profile.audit.judge, len(learned_from.classes), learned_from.images.shape[1], float(pixels.mean()),
                    float(pixels.std()))
    fit(network, [Portion(learned_from, profile.audit.batch_size, True)], profile.audit.updates,
        profile.audit.judge.learning_rate, profile.recipe, 0, torch.device("cpu"))
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
    """Mean and covariance; drawn images are as many of every class, others are weighted so."""
    return np.average(features, axis=0, weights=weights), np.cov(features, rowvar=False, aweights=weights)


def frechet(one: tuple, other: tuple) -> float:
    """Between two Gaussians (mean, covariance): Heusel 2017, equation 6."""
    from scipy.linalg import sqrtm
    (m, c), (n, d) = one, other
    return float(((m - n) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real))


if __name__ == "__main__":
    run(main)
