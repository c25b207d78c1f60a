"""Small pieces of long work that a test may kill at any moment; each leaves its result in a folder."""

from pathlib import Path

import torch

from synthplanes import records
from synthplanes.classification.runs import train_cell
from synthplanes.data.packs import write_pack
from synthplanes.diffusion.denoiser import Denoiser, write_denoiser
from synthplanes.diffusion.sampling import draw, plan
from synthplanes.diffusion.training import configure, train
from synthplanes.protocol import Profile
from synthplanes.scratch import Scratch
from tests import tiny_generator
from tests.small_profile import small_profile_parameters
from tests.tiny_generator import squares

# Long enough to be killed in, and with everything that a kill must not change.
NETWORK = tiny_generator.PARAMETERS.network.model_copy(update=dict(channels=[32, 32]))
PARAMETERS = tiny_generator.PARAMETERS.model_copy(update=dict(
    network=NETWORK, images_seen=2400, held_out_every_images=320, coarse_share=0.3, early_average_share=0.3,
    patience_images=2000))
SAMPLE = tiny_generator.SAMPLE.model_copy(update=dict(images_per_class=60, steps=6, solver="ancestral"))


def denoiser(scratch: Path, out: Path) -> None:
    found = train(squares(), squares(6), PARAMETERS, 1, 0, torch.device("cpu"), threads=2,
                  scratch=Scratch(scratch, "denoiser", seconds_between_states=0.05))
    write_denoiser(out, found.configuration, found.tensors, found.early)
    records.write_table(out / "history.csv", found.history)
    records.write_json(out / "counts.json", [found.training_image_passes, found.forward_image_passes])


def sampling(scratch: Path, out: Path) -> None:
    torch.manual_seed(3)
    network = Denoiser(configure(squares(), PARAMETERS, ("x", "y")))
    index = plan(squares(), ("x", "y"), SAMPLE, "scarce", 0, root_seed=1)
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
    train_cell("baseline", profile, "residual", [{"real": squares()}], out, scratch=Scratch(scratch, "classifiers"))


JOBS = {"denoiser": denoiser, "sampling": sampling, "classifiers": classifiers}


def run(name: str, scratch: Path, out: Path) -> None:
    """One job, with one thread: what a killed process left in `out` is deleted first, as DVC does."""
    import shutil
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    JOBS[name](scratch, out)
