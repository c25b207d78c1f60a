"""torchvision imports beside this torch, and where its library loads nothing is declared."""

import subprocess
import sys

from synthplanes.compute import torchvision_operators

CHILD = """
import torch
from synthplanes.compute import torchvision_operators
torchvision_operators._library_loads = lambda: True
print(torchvision_operators.declare_missing(), torchvision_operators._is_declared("nms"))
torchvision_operators._library_loads = lambda: False
print(torchvision_operators.declare_missing(), torchvision_operators._is_declared("nms"))
print(torchvision_operators.declare_missing())
"""


def test_operators_are_declared_once_and_only_where_the_library_does_not_load():
    """In a process of its own, because declarations cannot be undone."""
    said = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["() False", "('nms', 'qnms') True", "()"]


def test_torchvision_and_timm_import_here():
    torchvision_operators.declare_missing()
    import timm
    import torchvision
    assert torchvision.__version__ and timm.is_model("test_resnet")
