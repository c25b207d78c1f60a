"""A batch in equal parts, each on a thread and a core of its own.

Several threads that share one convolution of small images wait for one another after every operation; parts do not.
Gradients are added in the order of the parts and each part draws its dropout from a generator of its own, so the bytes
depend on the number of parts and on nothing else.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn import functional

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
    """`n` threads of one core each."""

    def __init__(self, n: int):
        self.n = n
        self._pool = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))

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
            rows = slice(size * part // self.n, size * (part + 1) // self.n)
            loss = losses(rows).sum() / size
            return loss.item(), torch.autograd.grad(loss, parameters)

        found = self.map(one, range(self.n))
        total = list(found[0][1])
        for _, gradients in found[1:]:
            torch._foreach_add_(total, gradients)
        for parameter, gradient in zip(parameters, total):
            parameter.grad = gradient
        return sum(loss for loss, _ in found)


def largest_that_fits(attempt: Callable[[int], object], size: int) -> int:
    """The first of size / 2, size / 4, ... at which `attempt` does not run out of memory; 0 if none is."""
    while size := size // 2:
        try:
            attempt(size)
            return size
        except torch.OutOfMemoryError:
            continue
    return 0
