"""torchvision imports beside this torch, and where its library loads nothing is declared."""

import subprocess
import sys

import pytest

from synthplanes.compute import torchvision_operators

CHILD = """
import sys
import torch
from synthplanes.compute.torchvision_operators import _libraries, declare_missing
{before}
for _ in range(2):
    declare_missing()
    print(len(_libraries))
"""
HEALTHY = "sys.modules['torchvision'] = sys"
BROKEN = """
class Broken:
    def find_spec(self, name, *_):
        if name == 'torchvision' and not _libraries:
            raise RuntimeError('operator torchvision::nms does not exist')
sys.meta_path.insert(0, Broken())
"""
ABSENT = "sys.modules['torchvision'] = None"


@pytest.mark.parametrize("before, declared", [(HEALTHY, 0), (BROKEN, 1), (ABSENT, 0)])
def test_operators_are_declared_once_and_only_where_the_import_fails(before, declared):
    """In a process of its own, because declarations cannot be undone."""
    said = subprocess.run([sys.executable, "-c", CHILD.format(before=before)], capture_output=True, text=True,
                          check=True).stdout.split()
    assert said == [str(declared)] * 2


def test_torchvision_and_timm_import_here():
    torchvision_operators.declare_missing()
    import timm
    import torchvision
    assert torchvision.__version__ and timm.is_model("test_resnet")
