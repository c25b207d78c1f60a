"""Several processes on one piece of work, as torchrun starts them; without it there is one.

    torchrun --nproc-per-node 2 stages/train_diffusion.py ...

Training divides the parts of every batch among them, sampling the batches. Neither result depends on their number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from synthplanes.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among `count`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all are here."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, mine: torch.Tensor) -> list[torch.Tensor]:
        """Everybody's tensor (of one shape and type), by rank."""
        if self.count == 1:
            return [mine]
        found = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(found, mine)
        return found


ALONE = Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (RANK, WORLD_SIZE and LOCAL_RANK in the environment), each with a GPU
    of its own where there are GPUs. Raises `UserError` when there are fewer GPUs than processes."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(f"torchrun started more processes than there are GPUs ({torch.cuda.device_count()}): lower "
                            "--nproc-per-node.")
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
