"""Divide one piece of work among the processes that torchrun starts; without torchrun there is a single process.

    torchrun --nproc-per-node 2 stages/train_diffusion.py --profile NAME

Training divides the parts of every batch among them, sampling divides the batches. Results do not depend on the number
of processes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from synthplanes.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """The rank of this process among `count` processes."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Return whether this process writes the joint results."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of this process: every `count`-th one."""
        return list(items[self.rank::self.count])

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return every process's tensor, by rank; all have the same shape and dtype."""
        if self.count == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(gathered, tensor)
        return gathered


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started (RANK, WORLD_SIZE and LOCAL_RANK in the environment).

    Each has a GPU of its own where there are GPUs; fewer GPUs than processes raise `UserError`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(f"torchrun started more processes than there are GPUs ({torch.cuda.device_count()}): lower "
                            "--nproc-per-node.")
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
