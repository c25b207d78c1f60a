"""Measure images a second through the denoiser's training beside the diffusers example script, and a profile's hours.

    python tests/benchmarks/training_speed.py [--profile fetal_planes] [--images 12400] [--updates 200]
        [--peak-tflops 989]

Meant for a GPU, at paper scale: phantom images of the profile's size, the profile's network, batch, precision and
compilation on our side, the script's defaults on the other (`diffusers_script.py`), one after the other on one device.
Then every kind of pass that the profile consists of is timed on that device, and its counted work (`synthplanes cost`)
divided by that. `--peak-tflops` is the card's own figure (989 for bfloat16 on an H100 or H200); with it, the share of
the peak that our training reaches is reported, by torch's count of the products and convolutions. It also runs on a
CPU.

Every part is written to artifacts/benchmarks.json, under `training_speed`, as soon as it is known, and the same command
goes on with the parts that are missing; the images lie in the ignored artifacts/scratch.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from diffusers_script import BATCH, EPOCHS, Script, conditions_of
from measured import FILE, keep
from torch.utils.flop_counter import FlopCounterMode

from synthplanes import records
from synthplanes.classification.fitting import Portion, TrainingStage, fit
from synthplanes.classification.networks import build
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion import training
from synthplanes.diffusion.denoiser import Denoiser, loss_per_image
from synthplanes.instructions import require
from synthplanes.phantom.population import CLASSES
from synthplanes.phantom.simulation import VERSION, simulate
from synthplanes.protocol import counted_work
from synthplanes.protocol.config import Simulate
from synthplanes.protocol.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
LOOKS = 10     # over the timed updates; the first is left out (compilation, warm-up)
CLASSIFIER_UPDATES = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="fetal_planes")
    parser.add_argument("--images", type=int, default=12_400)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    require(profile.compute.instructions)
    device = prepare_torch(profile.compute.threads)
    images = phantom_images(arguments.images, profile.prepare.image_size, len(os.sched_getaffinity(0)))
    about = dict(profile=arguments.profile, phantom_version=VERSION, images=arguments.images, updates=arguments.updates,
                 device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU")
    before = (records.read_json(arguments.out) if arguments.out.exists() else {}).get("training_speed", {})
    before.pop("machine", None)  # `keep` adds it anew
    known: dict[str, Any] = before if about.items() <= before.items() else about
    parts = {"ours": partial(ours, profile, images, arguments.updates, device),
             "script": partial(script, profile, images, arguments.updates, device),
             "teraflops_per_image": partial(teraflops, profile, images),
             "sampling": partial(forward, profile, images, device),
             **{arch: partial(classifier, profile, arch, images, device) for arch in profile.archs}}
    for name, part in parts.items():
        if name not in known:
            known[name] = part()
            keep("training_speed", known, arguments.out)
            print(name, known[name], flush=True)
    known["times_the_script"] = round(known["ours"] / known["script"], 2)
    known["teraflops_a_second"] = round(known["ours"] * known["teraflops_per_image"], 3)
    if arguments.peak_tflops:
        known["share_of_peak"] = round(known["teraflops_a_second"] / arguments.peak_tflops, 4)
    known["hours"] = hours(profile, known)
    keep("training_speed", known, arguments.out)
    print(known)


def phantom_images(n: int, size: int, workers: int) -> LabelledImages:
    """Return `n` images of fresh phantom patients, simulated once."""
    folder = ROOT / "artifacts" / "scratch" / f"training_speed-{n}-{size}"
    if not (folder / "labels.npy").exists():
        settings = Simulate(difficulty="default", frame_size=size, train_patients=1, test_patients=1, fresh_images=n,
                            preset_specificity=0.25)
        frames, table, _ = simulate(settings, 1, workers)
        mine = np.flatnonzero(table["role"] == "fresh")[:n]
        table = table.iloc[mine]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "images.npy", frames[mine])
        np.save(folder / "scanners.npy", table["scanner"].to_numpy(np.str_))
        np.save(folder / "labels.npy", np.array([CLASSES.index(label) for label in table["label"].tolist()]))
    labels = np.load(folder / "labels.npy")
    return LabelledImages(np.load(folder / "images.npy", mmap_mode="r"), labels, np.load(folder / "scanners.npy"),
                          np.array([f"{number:06d}" for number in range(len(labels))]), tuple(CLASSES))


def ours(profile: Profile, images: LabelledImages, updates: int, device: torch.device) -> float:
    """Return images a second of our training loop, by the times between its looks at held-out images.

    The looks themselves are replaced.
    """
    size, every = profile.train_diffusion.batch_size, max(updates // LOOKS, 1)
    moments: list[float] = []

    def look(*_) -> float:
        wait(device)
        moments.append(time.perf_counter())
        return 0.0

    parameters = profile.train_diffusion.model_copy(update=dict(
        images_seen=updates * size, held_out_every_images=every * size, patience_images=updates * size))
    with patch.object(training, "held_out_loss", look):
        training.train(training.Task(images, images.first(1), parameters, root_seed=1,
                                     threads=profile.compute.threads), device)
    return per_second(every * size, np.diff(moments))


def script(profile: Profile, images: LabelledImages, updates: int, device: torch.device) -> float:
    """Return images a second of the script's loop: as many updates of its own batch."""
    peer, every = Script(profile, images, EPOCHS, 1, device), max(updates // LOOKS, 1)
    moments: list[float] = []
    batches = (rows for _ in range(EPOCHS) for rows in peer.epoch())
    for number in range(updates):
        peer.step(next(batches))
        if (number + 1) % every == 0:
            wait(device)
            moments.append(time.perf_counter())
    return per_second(every * BATCH, np.diff(moments))


def teraflops(profile: Profile, images: LabelledImages) -> float:
    """Return the products and convolutions of one image's training pass, in 10^12 operations."""
    few = images.first(2)
    scanners = tuple(sorted(set(images.scanners.tolist()) - {""}))
    denoiser = Denoiser(replace(training.configure(few, profile.train_diffusion, scanners), dropout=0.0))
    shape = (2, 1, *images.images.shape[1:])
    with FlopCounterMode(display=False) as count:
        loss_per_image(denoiser, torch.zeros(shape), torch.ones(shape), torch.ones(2),
                       conditions_of(few, scanners)).sum().backward()
    return count.get_total_flops() / 2 / 1e12


def forward(profile: Profile, images: LabelledImages, device: torch.device) -> float:
    """Return network evaluations a second, on batches of the size that sampling has."""
    size = profile.sample.batch_size
    few, scanners = images.first(size), tuple(sorted(set(images.scanners.tolist()) - {""}))
    denoiser = Denoiser(training.configure(few, profile.train_diffusion, scanners)).to(
        device, memory_format=torch.channels_last).eval()
    noisy, level = torch.randn(size, 1, *images.images.shape[1:], device=device), torch.ones(size, device=device)
    conditions, seconds = conditions_of(few, scanners).to(device), []
    with torch.no_grad():
        for _ in range(LOOKS):
            start = time.perf_counter()
            denoiser(noisy, level, conditions)
            wait(device)
            seconds.append(time.perf_counter() - start)
    return per_second(size, seconds[1:])


def classifier(profile: Profile, arch: str, images: LabelledImages, device: torch.device) -> float:
    """Return images a second of `fit` on one architecture, start-up left out."""
    network = build(profile.archs[arch], len(images.classes), images.images.shape[1])
    seconds = []
    for updates in (CLASSIFIER_UPDATES, CLASSIFIER_UPDATES, 3 * CLASSIFIER_UPDATES):  # the first warms up
        start = time.perf_counter()
        portions = [Portion(images, profile.recipe.batch_size, True)]
        fit(network, TrainingStage(portions, updates, 1e-4, order_seed=0), profile.recipe, device)
        wait(device)
        seconds.append(time.perf_counter() - start)
    return per_second(2 * CLASSIFIER_UPDATES * profile.recipe.batch_size, np.diff(seconds[1:]))


def hours(profile: Profile, speeds: dict[str, Any]) -> dict[str, float]:
    """Return the hours of one process for the profile's counted work, the small guide and label classifier left out."""
    spent = dict(train_diffusion=0.0, sample=0.0, classifiers=0.0)
    for row in counted_work.expected(profile, len(CLASSES)):
        trained, passes = row["training_image_passes"], row["forward_image_passes"]
        if row["stage"] == "train_diffusion":
            spent["train_diffusion"] += trained / speeds["ours"]
        elif row["stage"] == "sample":  # at most: as if every gradient of guidance went through the denoiser and back
            passes += counted_work.FORWARD_EQUIVALENTS_OF_A_TRAINING_PASS * trained
            spent["sample"] += passes / speeds["sampling"]
        elif row["arch"]:
            spent["classifiers"] += trained / speeds[row["arch"]]
    rounded = {name: round(seconds / 3600, 3) for name, seconds in spent.items()}
    return rounded | dict(together=round(sum(spent.values()) / 3600, 3))


def per_second(images: int, seconds: Sequence[float] | np.ndarray) -> float:
    """Return images a second, of the median time."""
    return round(images / float(np.median(seconds)), 2)


def wait(device: torch.device) -> None:
    """Wait until a GPU has computed all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    run(main)
