"""What two processes do together, and one alone, in the tests of shared work."""

import os
from pathlib import Path

import torch
from tests.tiny_generator import PARAMETERS, SAMPLE, squares

from synthplanes.data.packs import write_pack
from synthplanes.diffusion.denoiser import Denoiser, write_denoiser
from synthplanes.diffusion.processes import joined
from synthplanes.diffusion.sampling import draw_together, plan
from synthplanes.diffusion.training import configure, train
from synthplanes.compute.checkpoints import Scratch


def train_and_draw(rank: int, count: int, port: int, folder: Path) -> None:
    """Train a denoiser and draw with a fresh one; the first process writes what came out below `folder`."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    device = torch.device("cpu")
    with joined(device) as processes:
        found = train(squares(), squares(6), PARAMETERS, 1, 0, device, threads=2, processes=processes)
        torch.manual_seed(3)
        network, scratch = Denoiser(configure(squares(), PARAMETERS, ("x", "y"))), Scratch(folder / "scratch", "sampling")
        sample = SAMPLE.model_copy(update=dict(images_per_class=10))
        index = plan(squares(), ("x", "y"), sample, "scarce", 0, root_seed=1)
        drawn = draw_together(processes, network, None, index, sample, device, 1, scratch)
        if drawn is not None:
            write_denoiser(folder / "out", found.configuration, found.tensors, found.early)
            write_pack(folder / "out", drawn[0], index)
            (folder / "passes").write_text(f"{drawn[1:]}")
