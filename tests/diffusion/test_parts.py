"""A batch in parts has the gradients of the whole, and bytes that do not depend on who was faster."""

import pytest
import torch
from torch import nn

from synthplanes.diffusion.parts import Dropout, Parts, replace_dropout


def network(p: float = 0.0) -> nn.Sequential:
    torch.manual_seed(2)
    found = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Dropout(p), nn.Conv2d(8, 1, 3, padding=1))
    found.double()
    replace_dropout(found)
    return found


def images() -> torch.Tensor:
    return torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def losses(net: nn.Module):
    return lambda rows: net(images()[rows]).square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_the_gradients_are_those_of_the_whole_batch(n):
    whole, divided = network(), network()
    loss = losses(whole)(slice(None)).mean()
    loss.backward()
    found = Parts(n).backward(divided, losses(divided), 7, list(range(n)))
    assert found == pytest.approx(loss.item())
    for a, b in zip(whole.parameters(), divided.parameters()):
        assert torch.allclose(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_same_bytes_however_the_threads_run():
    def gradients(n):
        net = network(p=0.3)
        Parts(n).backward(net, losses(net), 7, [5, 6, 7][:n])
        return [parameter.grad for parameter in net.parameters()]

    first = gradients(3)
    for _ in range(20):
        assert all(torch.equal(a, b) for a, b in zip(first, gradients(3)))
    assert not torch.allclose(first[0], gradients(2)[0])


def test_dropout_keeps_the_mean_and_drops_its_share():
    inside = {}

    def look(rows):
        ones = torch.ones(1, 200_000, requires_grad=True)
        inside["out"] = layer(ones)
        return inside["out"].mean().view(1)

    layer = Dropout(0.1)
    net = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):  # the loss does not know the network
        Parts(1).backward(net, look, 1, [3])
    out = inside["out"]
    share = (out == 0).double().mean().item()
    assert share == pytest.approx(0.1, abs=3 * (0.1 * 0.9 / 200_000) ** 0.5)
    assert out.max().item() == pytest.approx(1 / 0.9) and out.mean().item() == pytest.approx(1, abs=0.005)
    assert torch.equal(layer.eval()(torch.ones(3)), torch.ones(3))
