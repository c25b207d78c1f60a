"""Small pieces of long work that a test may kill at any moment; each leaves its result in a folder."""

from pathlib import Path

import numpy as np
import torch

from synthplanes import records
from synthplanes.classification.runs import train_cell
from synthplanes.data.packs import write_pack
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.denoiser import Denoiser, write_denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.diffusion.training import configure, train
from synthplanes.protocol import Profile
from synthplanes.scratch import Scratch
from synthplanes.sections import Sample, TrainDiffusion
from tests.small_profile import small_profile_parameters

PARAMETERS = TrainDiffusion.model_validate(dict(
    network=dict(unshuffle=2, channels=[32, 32], layers_per_block=1, attention_at=[], dropout=0.1),
    warm_start=None,
    images_seen=2400, batch_size=16, learning_rate=1e-3, warmup_images=32, ema_halflife_images=64, noise_mean=-0.8,
    noise_deviation=1.2, coarse_share=0.3, early_average_share=0.3,
    condition_dropout=0.2, scanner_condition=True, class_balance=1.0, augmentation=0.2,
    held_out_every_images=320))
SAMPLE = Sample.model_validate(dict(
    images_per_class=60, plan={}, start="noise", start_noise=0.7, solver="ancestral", guidance="classifier_free",
    guidance_scale=1.5, guidance_interval=[0.0, 100.0],
    scanners="uniform", steps=6, sigma_min=0.02, sigma_max=20.0, rho=7.0, batch_size=6))


def bars(n: int = 24) -> LabelledImages:
    """Bright bars left (class a) or right (class b) on black."""
    labels = np.arange(n) % 2
    images = np.zeros((n, 16, 16), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 4:12, 8 * label:8 * label + 8] = 150 + 4 * row
    return LabelledImages(images, labels.astype(np.int64), np.array(["x", "y", ""] * (n // 3)),
                          np.array([f"i{i}" for i in range(n)]), ("a", "b"))


def denoiser(scratch: Path, out: Path) -> None:
    found = train(bars(), bars(6), PARAMETERS, 1, 0, torch.device("cpu"), threads=2,
                  scratch=Scratch(scratch, "denoiser", seconds_between_states=0.05))
    write_denoiser(out, found.configuration, found.tensors, found.early)
    records.write_table(out / "history.csv", found.history)
    records.write_json(out / "counts.json", [found.training_image_passes, found.forward_image_passes])


def sampling(scratch: Path, out: Path) -> None:
    torch.manual_seed(3)
    network = Denoiser(configure(bars(), PARAMETERS, ("x", "y")))
    index = plan(bars(), ("x", "y"), SAMPLE, "scarce", 0, root_seed=1)
    images, *passes = draw(network, None, index, SAMPLE, torch.device("cpu"),
                           scratch=Scratch(scratch, "sampling"))
    write_pack(out, images, index)
    records.write_json(out / "counts.json", passes)


def classifiers(scratch: Path, out: Path) -> None:
    parameters = small_profile_parameters(archs=("residual",))
    parameters["compute"]["processes"] = 1  # workers of a killed process would keep its pipe open for a minute
    parameters["replication"]["seeds"] = 4
    parameters["recipe"] |= dict(stage_1_updates=12, stage_2_updates=6, batch_size=8)
    profile = Profile.model_validate(parameters)
    train_cell("baseline", profile, "residual", [{"real": bars()}], out, scratch=Scratch(scratch, "classifiers"))


JOBS = {"denoiser": denoiser, "sampling": sampling, "classifiers": classifiers}


def run(name: str, scratch: Path, out: Path) -> None:
    """One job, with one thread: what a killed process left in `out` is deleted first, as DVC does."""
    import shutil
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    JOBS[name](scratch, out)
