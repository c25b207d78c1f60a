"""The cure: torchvision imports beside this torch, and where its library loads nothing is declared."""

import subprocess
import sys

from synthplanes.compute import torchvision_operators

CHILD = """
import torch
from synthplanes.compute import torchvision_operators
{before}
declared = torchvision_operators.declare_missing()
print(sorted(declared), torchvision_operators.declare_missing())
"""


def child(before: str, after: str = "") -> str:
    """Declarations cannot be undone, so each case runs in a process of its own."""
    return subprocess.run([sys.executable, "-c", CHILD.format(before=before) + after], capture_output=True, text=True,
                          check=True).stdout.strip()


def test_sick_torchvision_is_cured():
    sick = "torchvision_operators._library_loads = lambda: False"
    assert child(sick) == "['nms', 'qnms'] ()"


def test_healthy_torchvision_is_left_alone():
    healthy = "torchvision_operators._library_loads = lambda: True"
    assert child(healthy, "assert not hasattr(torch.ops.torchvision, 'nms')") == "[] ()"


def test_torchvision_and_timm_import_here():
    torchvision_operators.declare_missing()
    import timm
    import torchvision
    assert torchvision.__version__ and timm.is_model("test_resnet")
