"""What decides the last bits of a result is stated."""

import torch

from synthplanes.compute.devices import platform, prepare_torch


def test_threads_and_device_are_set():
    before = torch.get_num_threads()
    assert prepare_torch(1).type in ("cpu", "cuda") and torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_the_platform_is_json(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert platform("avx2", 2) == {"instructions": "avx2", "threads": 2, "torch": str(torch.__version__),
                                   "capability": torch.backends.cpu.get_cpu_capability()}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert platform("native", 1)["capability"] == "cuda"
