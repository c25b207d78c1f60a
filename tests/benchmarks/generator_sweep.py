"""Compare ways to train a generator on a CPU, at about equal CPU time, on phantom populations of other root seeds.

    python tests/benchmarks/generator_sweep.py [--root-seed 1] [--settings NUMBER ...] [--processes 2]

Every row of SETTINGS changes the generator of the profile `phantom` and trains it on the scarce budget of a population
of its own root seed, so the profile's test patients stay unopened. `images_seen` is set so that all rows of one image
size cost about the same: on one core of the machine on which it was first run 400 s, of which a row prints its own.
A row has the lowest loss on the budget's validation patients under the profile's own noise levels, by which rows with
other noise levels can be compared, and label fidelity and possible copies of 360 images drawn without guidance. Writes
metrics/generator_sweep.csv, a row as soon as it is known, and goes on with the rows that are missing: about 45 minutes
on two cores for all. A contact sheet of each row lies in artifacts/scratch, since numbers alone hide broken images.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from generator_yardsticks import ROOT, SHEETS, Setting, fidelities, images_of, of_size

from synthplanes.audit.auditing import SHOWN, count_copies
from synthplanes.command import run
from synthplanes.compute.devices import prepare_torch
from synthplanes.compute.parallel import run_parallel
from synthplanes.data.packs import write_contact_sheet
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.denoiser import Denoiser
from synthplanes.diffusion.parts import Parts
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.diffusion.training import Task, held_out_loss, train
from synthplanes.protocol.profiles import read_profile

OUTPUT = ROOT / "metrics" / "generator_sweep.csv"
LOOKS = 8          # at the held-out loss, evenly spaced
PER_CLASS = 60     # images drawn
BASE = dict(unshuffle=2, channels="32 64 64", batch_size=16, learning_rate=0.002, dropout=0.1, augmentation=0.3,
            noise_mean=-0.8, ema_halflife_images=4000)
SETTINGS: tuple[dict[str, Any], ...] = tuple(dict(image_size=size, images_seen=seen, **BASE | changes)
                                             for size, seen, changes in (
    (32, 14400, dict(channels="64 128 128", batch_size=64, learning_rate=0.0008)),  # the default's way before
    (32, 13200, dict(channels="64 128 128", learning_rate=0.0008)),
    (32, 41000, dict(channels="64 128", unshuffle=4, learning_rate=0.0008)),
    (32, 31000, dict(channels="32 64 128", learning_rate=0.0008)),
    (32, 31000, dict(channels="32 64 128")),
    (32, 38000, dict()),
    (32, 34000, dict(batch_size=8)),
    (32, 40000, dict(batch_size=32)),
    (32, 38000, dict(learning_rate=0.004)),
    (32, 38000, dict(dropout=0.0)),
    (32, 38000, dict(dropout=0.0, augmentation=0.0)),
    (32, 38000, dict(dropout=0.05, augmentation=0.15)),
    (32, 38000, dict(ema_halflife_images=1500)),
    (32, 38000, dict(noise_mean=-0.4)),
    (32, 38000, dict(noise_mean=-1.2)),
    (24, 60000, dict()),
    (48, 18000, dict()),
))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--settings", type=int, nargs="+", choices=range(len(SETTINGS)), default=range(len(SETTINGS)))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.out).to_dict("records") if arguments.out.exists() else []
    known = {tuple(row[name] for name in ("root_seed", *SETTINGS[0])) for row in rows}
    asked = [SETTINGS[number] for number in arguments.settings]
    missing = [setting for setting in asked if (arguments.root_seed, *setting.values()) not in known]
    for row in run_parallel(partial(measure, arguments.root_seed), missing, arguments.processes):
        print(row, flush=True)
        rows.append({name: value for name, value in row.items() if name != "cpu_seconds"})
        pd.DataFrame(rows).to_csv(arguments.out, index=False, lineterminator="\n")


def measure(root: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Train and judge the generator of one setting."""
    device, profile = prepare_torch(threads=1), of_size(read_profile("phantom"), changes["image_size"])
    seen = changes["images_seen"]
    channels = [int(width) for width in changes["channels"].split()]
    network = profile.train_diffusion.network.model_copy(update=dict(
        unshuffle=changes["unshuffle"], channels=channels, attention_at=[len(channels) - 1],
        dropout=changes["dropout"]))
    own = {name: changes[name] for name in ("batch_size", "learning_rate", "augmentation", "noise_mean",
                                            "ema_halflife_images", "images_seen")}
    parameters = profile.train_diffusion.model_copy(update=dict(
        network=network, early_average_fraction=0.0, held_out_every_images=seen // LOOKS, patience_images=seen, **own))
    with tempfile.TemporaryDirectory() as scratch:
        pools, held_out = images_of("phantom", profile, root, Path(scratch))
        setting = Setting(profile, root, device, Path(scratch), pools, held_out)
        task = Task(setting.real, held_out, parameters, root)
        before = time.process_time()
        trained = train(task, device)
        spent = time.process_time() - before
        denoiser = Denoiser(trained.denoiser.configuration).eval()
        denoiser.load_state_dict(trained.weights)
        loss = held_out_loss(denoiser, replace(task, parameters=profile.train_diffusion), device, Parts(1))
        drawn = draw(setting, denoiser)
        fidelity = fidelities(setting, [drawn])[0]["label_fidelity"]
        copies = count_copies(drawn.images, setting.real.images, held_out.images)["share_nearer_than_threshold"]
    name = "-".join(str(value).replace(" ", "_") for value in changes.values())
    write_contact_sheet(SHEETS / f"sweep-{name}.png", drawn.images, np.array(drawn.classes)[drawn.labels],
                        drawn.classes, SHOWN)
    return dict(root_seed=root, **changes, best_after_images=trained.best_seen, held_out_loss=round(loss, 4),
                label_fidelity=round(fidelity, 4), copies=round(copies, 4), cpu_seconds=round(spent))


def draw(setting: Setting, denoiser: Denoiser) -> LabelledImages:
    """Draw PER_CLASS images of each class without guidance."""
    real, profile = setting.real, setting.profile
    sample = profile.sample.model_copy(update=dict(guidance="none"))
    index = list_images(real, denoiser.configuration.scanners, PER_CLASS, profile.scarce_budget, 0, setting.root)
    images = Sampler(denoiser, None, sample, setting.device).draw(index).images
    labels = np.array([real.classes.index(name) for name in index["label"].tolist()])
    return LabelledImages(images, labels, index["scanner"].to_numpy(np.str_), index["image_id"].to_numpy(np.str_),
                          real.classes)


if __name__ == "__main__":
    run(main)
