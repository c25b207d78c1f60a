"""A network's numbers in one row of memory.

Nets as small as the CPU profiles' spend much of an update on starting hundreds of operations on a few numbers each: for
every tensor several in the optimiser and one in the average of the weights. On one row these are three.
"""

import torch
from torch import nn


def alignment(device: torch.device) -> int:
    """A tensor may begin at multiples of so many numbers of a row: kernels on CUDA fail on one that begins anywhere."""
    return 16 if device.type == "cuda" else 1  # 64 bytes


class Flattened:
    """From now until `release`, parameters and floating buffers of `network` are views of `values` float32 [V]
    (V includes padding between them where `alignment` is not 1, always 0).

    `decayed` are the numbers of parameters of more than one dimension, which weight decay is for, `others` those of all
    other parameters. Both are views of `values` with a gradient in place, which the views' gradients fill, so an
    optimiser of these two moves the network. A stranger to buffers that are replaced and not written to.
    """

    def __init__(self, network: nn.Module):
        self._parameters = sorted(network.parameters(), key=lambda parameter: parameter.ndim <= 1)  # stable
        self._tensors = [*self._parameters, *(one for one in network.buffers() if one.is_floating_point())]
        device = self._tensors[0].device
        self._step = alignment(device)
        self.values = torch.zeros(sum(map(self._room, self._tensors)), device=device)
        for one, inside in zip(self._tensors, self._pieces(self.values)):
            one.data = inside.copy_(one.data)
        trained = sum(map(self._room, self._parameters))
        turn = sum(self._room(one) for one in self._parameters if one.ndim > 1)
        self.gradients = torch.zeros_like(self.values[:trained])
        for one, inside in zip(self._parameters, self._pieces(self.gradients)):
            one.grad = inside
        self.decayed, self.others = nn.Parameter(self.values[:turn]), nn.Parameter(self.values[turn:trained])
        self.decayed.grad, self.others.grad = self.gradients[:turn], self.gradients[turn:]

    def release(self, values: torch.Tensor) -> None:
        """Give the network tensors of its own again, with the numbers of `values` [V] (its own, or an average of them)."""
        for one, inside in zip(self._tensors, self._pieces(values)):
            one.data = inside.clone()
        for one in self._parameters:
            one.grad = None

    def _pieces(self, row: torch.Tensor):
        """Views of `row`, one for each tensor in turn, in its shape and layout (such as channels last)."""
        start = 0
        for one in self._tensors:
            yield row.as_strided(one.size(), one.stride(), start)
            start += self._room(one)

    def _room(self, one: torch.Tensor) -> int:
        """How many numbers of a row `one` takes, those included that only bring the next to where it may begin."""
        return -(-one.numel() // self._step) * self._step
