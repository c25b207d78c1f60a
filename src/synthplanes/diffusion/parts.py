"""Divide work among processes, and a batch into equal parts, each on its own core or GPU.

    torchrun --nproc-per-node 2 stages/train_diffusion.py --profile NAME

Processes that torchrun starts share the parts of every training batch, and the batches of sampling. The parts of one
process are threads. Threads that share one convolution of small images wait for one another after every operation;
parts do not (tests/benchmarks/own_loops.py). Gradients are added in the order of the parts, and each part draws its
dropout from a generator of its own, so the bytes depend on the number of parts alone, not on that of processes.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from synthplanes.errors import UserError

_part = threading.local()  # .generator draws the dropout of the part that this thread computes


@dataclass(frozen=True)
class Processes:
    """The rank of this process among `count` processes; the first, of rank 0, writes what they made together."""

    rank: int = 0
    count: int = 1

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
        """Return every process's tensors, by rank; all processes have the same shapes, and one dtype."""
        if self.count == 1:
            return [tensors]
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        gathered = [torch.empty_like(flat) for _ in range(self.count)]
        distributed.all_gather(gathered, flat)
        sizes = [tensor.numel() for tensor in tensors]
        # In the strides of autograd's own tensors: norms are summed in memory's order.
        return [[torch.empty_like(tensor).copy_(piece.view_as(tensor))
                 for tensor, piece in zip(tensors, other.split(sizes), strict=True)] for other in gathered]


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started, each on a GPU of its own where there are any; too few: `UserError`."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        local, n_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= n_gpus:
            raise UserError(f"torchrun started more processes than there are GPUs ({n_gpus}): lower --nproc-per-node.")
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


class Dropout(nn.Dropout):
    """torch's dropout, drawn on a CPU from the generator of the part."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=_part.generator)
        return x * kept.div_(1 - self.p)


def replace_dropout(network: nn.Module) -> None:
    """Replace torch's dropout in `network`, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, Dropout(child.p))


class Parts:
    """Divide batches into `n` parts; raise `UserError` when the number of processes does not divide them."""

    def __init__(self, n: int, processes: Processes = ALONE):
        if n % processes.count:
            raise UserError(f"a batch of {n} parts, one for each of compute.threads, cannot be divided among "
                            f"{processes.count} processes: start a number of processes that divides it.")
        self.n, self._processes = n, processes
        self._pool = ThreadPoolExecutor(n // processes.count, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Return `function(item)` for every item, in order; items are computed in parallel."""
        return list(self._pool.map(function, items))

    def backward(self, network: nn.Module, losses: Callable[[slice], torch.Tensor], size: int, seeds: Sequence[int]
                 ) -> float:
        """Set the gradients of the mean loss over a batch of `size` images, and return that loss.

        `losses` computes the losses, float32 [n], of some rows of the batch; `seeds[i]` seeds the dropout of part i.
        """
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]

        def compute(part: int) -> list[torch.Tensor]:
            """Return a part's share of the loss, and its gradients."""
            _part.generator = torch.Generator().manual_seed(seeds[part])
            if parameters[0].is_cuda:
                torch.cuda.manual_seed(seeds[part])
            rows = slice(size * part // self.n, size * (part + 1) // self.n)
            loss = losses(rows).sum() / size
            return [loss.detach(), *torch.autograd.grad(loss, parameters)]

        own = self.map(compute, range(self._processes.rank, self.n, self._processes.count))
        parts = [part for tensors in own for part in self._processes.gather(tensors)]
        _, *total = parts[0]
        for _, *gradients in parts[1:]:
            torch._foreach_add_(total, gradients)
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient
        return sum(loss.item() for loss, *_ in parts)
