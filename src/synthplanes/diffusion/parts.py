"""A batch in equal parts, each on a core of its own: a thread's, or another process's.

Several threads that share one convolution of small images wait for one another after every operation; parts do not.
Gradients are added in the order of the parts and each part draws its dropout from a generator of its own, so the bytes
depend on the number of parts and on nothing else: not on how many processes compute them.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn import functional

from synthplanes.diffusion.processes import ALONE, Processes
from synthplanes.errors import UserError

_own = threading.local()  # .generator: the dropout of the part that this thread computes


class Dropout(nn.Module):
    """Dropout drawn from the part's generator (on a GPU from torch's own).

    One random byte decides about one value, so the share `p` in [0, 1) is rounded to 256ths. Torch's dropout draws 32
    bits for each on one core, which was a tenth of a training step.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-2 ** 63, None, generator=_own.generator)
        kept = (draws.view(torch.uint8)[:x.numel()] >= dropped).view(x.shape)
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


def with_own_dropout(network: nn.Module) -> None:
    """Replace torch's dropout in `network`, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, Dropout(child.p))


class Parts:
    """`n` parts, divided evenly among processes; those of one process are threads of one core each.

    Raises `UserError` when the processes do not divide them.
    """

    def __init__(self, n: int, processes: Processes = ALONE):
        if n % processes.count:
            raise UserError(f"a batch of {n} parts, one for each thread of the profile's compute section, cannot be divided "
                            f"among {processes.count} processes: start a number of processes that divides it.")
        self.n, self._processes = n, processes
        self._pool = ThreadPoolExecutor(n // processes.count, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable, items: Iterable) -> list:
        """`function` of every item, in their order; items are computed side by side."""
        return list(self._pool.map(function, items))

    def backward(self, network: nn.Module, losses: Callable[[slice], torch.Tensor], size: int, seeds: list[int]
                 ) -> float:
        """Set the gradients of the mean loss over a batch of `size` images; returns that loss.

        `losses` gives the losses float32 [n] of some rows of the batch, `seeds[i]` is the seed of part i's dropout.
        """
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]

        def one(part: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            _own.generator = torch.Generator().manual_seed(seeds[part])
            if parameters[0].is_cuda:
                torch.cuda.manual_seed(seeds[part])
            rows = slice(size * part // self.n, size * (part + 1) // self.n)
            loss = losses(rows).sum() / size
            return loss.item(), torch.autograd.grad(loss, parameters)

        found = self._gathered(self.map(one, range(self._processes.rank, self.n, self._processes.count)))
        total = list(found[0][1])
        for _, gradients in found[1:]:
            torch._foreach_add_(total, gradients)
        for parameter, gradient in zip(parameters, total):
            parameter.grad = gradient
        return sum(loss for loss, _ in found)


    def _gathered(self, mine: list[tuple[float, tuple[torch.Tensor, ...]]]) -> list[tuple]:
        """All parts in their order, from those that this process computed."""
        if self._processes.count == 1:
            return mine
        found = []
        for loss, gradients in mine:
            flat = torch.cat([torch.full((1,), loss).to(gradients[0]), *(one.flatten() for one in gradients)])
            for other in self._processes.gather(flat):
                pieces = other[1:].split([one.numel() for one in gradients])
                # In the strides of autograd's own: norms are summed in memory's order.
                found.append((other[0].item(), [torch.empty_like(one).copy_(piece.view_as(one))
                                                for piece, one in zip(pieces, gradients)]))
        return found


def largest_that_fits(attempt: Callable[[int], object], size: int) -> int:
    """The first of size / 2, size / 4, ... at which `attempt` does not run out of memory; 0 if none is."""
    while size := size // 2:
        try:
            attempt(size)
            return size
        except torch.OutOfMemoryError:
            continue
    return 0
