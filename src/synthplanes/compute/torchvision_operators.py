"""Make `import torchvision` work where its C++ operators do not load beside this torch.

A CPU build of torch beside the package index's torchvision, which is built against CUDA, fails at `import torchvision`
with "operator torchvision::nms does not exist": Python code registers fake kernels for operators that the C++ library
should have declared. timm and parts of diffusers import torchvision, but nothing here calls its C++ operators.
Declaring the schemas beforehand lets the import pass; where the library loads, nothing is declared.
"""

import importlib.util
from operator import attrgetter
from pathlib import Path

import torch

# The operators for which torchvision's Python code registers fake kernels at import.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # declarations end with the Library object that made them


def declare_missing() -> tuple[str, ...]:
    """Make `import torchvision` safe, and return the names that had to be declared.

    Call it before the first import of timm or diffusers. It does nothing where torchvision is absent, where its library
    loads, or when called again.
    """
    if _libraries or importlib.util.find_spec("torchvision") is None or _library_loads():
        return ()
    missing = tuple(name for name in SCHEMAS if not _is_declared(name))
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(SCHEMAS[name])
    _libraries.append(library)
    return missing


def _is_declared(name: str) -> bool:
    try:
        attrgetter(name)(torch.ops.torchvision)
    except AttributeError:
        return False
    return True


def _library_loads() -> bool:
    """Load torchvision's C++ library as torchvision does, without importing it; return whether that succeeded."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.submodule_search_locations is not None  # checked by the caller
    folder = Path(spec.submodule_search_locations[0])
    for library in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return _is_declared("nms")
