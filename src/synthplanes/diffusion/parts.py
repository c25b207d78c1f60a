"""Compute a batch in equal parts, each on its own core, in a thread of this process or in another process.

Threads that share one convolution of small images wait for one another after every operation; parts do not
(tests/benchmarks/own_loops.py). Gradients are added in the order of the parts, and each part draws its dropout from a
generator of its own, so the bytes depend on the number of parts alone, not on how many processes compute them.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from synthplanes.diffusion.processes import ALONE, Processes
from synthplanes.errors import UserError

_part = threading.local()  # .generator draws the dropout of the part that this thread computes

Gradients = tuple[float, tuple[torch.Tensor, ...]]  # a part's share of the loss, and its gradients


class Dropout(nn.Module):
    """Drop values with probability `p`, drawn from the part's generator (on a GPU from torch's own)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=_part.generator)
        return x * kept.div_(1 - self.p)


def replace_dropout(network: nn.Module) -> None:
    """Replace torch's dropout in `network`, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, Dropout(child.p))


class Parts:
    """Divide batches into `n` parts, evenly among processes; the parts of one process are threads of one core each.

    Raises `UserError` when the number of processes does not divide them.
    """

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

        def compute(part: int) -> Gradients:
            _part.generator = torch.Generator().manual_seed(seeds[part])
            if parameters[0].is_cuda:
                torch.cuda.manual_seed(seeds[part])
            rows = slice(size * part // self.n, size * (part + 1) // self.n)
            loss = losses(rows).sum() / size
            return loss.item(), torch.autograd.grad(loss, parameters)

        parts = self._gathered(self.map(compute, self._processes.share(range(self.n))))
        total = list(parts[0][1])
        for _, gradients in parts[1:]:
            torch._foreach_add_(total, gradients)
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient
        return sum(loss for loss, _ in parts)

    def _gathered(self, own: list[Gradients]) -> list[Gradients]:
        """Return all parts in their order, from those that this process computed."""
        if self._processes.count == 1:
            return own
        parts: list[Gradients] = []
        for loss, gradients in own:
            flat = torch.cat([torch.full((1,), loss).to(gradients[0]), *(tensor.flatten() for tensor in gradients)])
            for other in self._processes.gather(flat):
                pieces = other[1:].split([tensor.numel() for tensor in gradients])
                # In the strides of autograd's own tensors: norms are summed in memory's order.
                parts.append((other[0].item(), tuple(torch.empty_like(tensor).copy_(piece.view_as(tensor))
                                                     for tensor, piece in zip(gradients, pieces, strict=True))))
        return parts


def largest_that_fits(attempt: Callable[[int], object], size: int) -> int:
    """Return the first of size / 2, size / 4, ... at which `attempt` does not run out of memory; 0 if there is none."""
    while size := size // 2:
        try:
            attempt(size)
            return size
        except torch.OutOfMemoryError:
            continue
    return 0
