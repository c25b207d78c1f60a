"""What two processes do together, and one alone, in the tests of shared work."""

import os
from pathlib import Path

import torch

from synthplanes.compute.checkpoints import Checkpoints
from synthplanes.data.packs import write_pack
from synthplanes.diffusion.denoiser import Denoiser, write_denoiser
from synthplanes.diffusion.parts import joined
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.diffusion.training import configure, train
from synthplanes.records import SYNTHETIC
from tests.tiny_generator import PARAMETERS, SAMPLE, squares, task


def train_and_draw(rank: int, count: int, port: int, folder: Path) -> None:
    """Train a denoiser, and draw with a fresh one; the first process writes the results below `folder`."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    with joined() as processes:
        trained = train(task(threads=2), torch.device("cpu"), processes=processes)
        torch.manual_seed(3)
        denoiser = Denoiser(configure(squares(), PARAMETERS, ("x", "y")))
        checkpoints = Checkpoints(folder / "checkpoints", "sampling")
        index = list_images(squares(), ("x", "y"), 10, "scarce", 0, root_seed=1)
        drawn = Sampler(denoiser, None, SAMPLE, torch.device("cpu")).draw(
            index, checkpoints.piece, processes)
        if drawn is not None:
            write_denoiser(folder / "out", trained.denoiser.configuration, trained.weights, trained.early)
            write_pack(folder / "out", drawn.images, index, SYNTHETIC)
            (folder / "passes").write_text(f"{drawn[1:]}")
