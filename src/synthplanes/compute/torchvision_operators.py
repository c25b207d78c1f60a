"""The cure for a torchvision whose C++ operators do not load beside this torch.

A CPU build of torch beside the package index's torchvision (which is built against CUDA) fails at
`import torchvision`: "operator torchvision::nms does not exist", because Python code registers fake
kernels for operators that the unloadable C++ library should have declared. timm and parts of diffusers
import torchvision, but nothing in this house calls its C++ operators. Declaring the schemas beforehand
lets the import pass; with a matching pair, where the library loads, nothing is declared.
"""

import importlib.util
from pathlib import Path

import torch

# The operators for which torchvision's Python registers fake kernels at import.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []  # a Library's declarations end with the object


def declare_missing() -> tuple[str, ...]:
    """Make `import torchvision` safe; returns the names that had to be declared (none where it is healthy).

    Call before the first import of timm or diffusers. Does nothing where torchvision is absent,
    already cured or healthy.
    """
    if _declared or importlib.util.find_spec("torchvision") is None or _library_loads():
        return ()
    missing = tuple(name for name in SCHEMAS if not _declared_already(name))
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(SCHEMAS[name])
    _declared.append(library)
    return missing


def _declared_already(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


def _library_loads() -> bool:
    """Whether torchvision's C++ library loads beside this torch (its own way to load it, without the import)."""
    folder = importlib.util.find_spec("torchvision").submodule_search_locations[0]
    for library in sorted(Path(folder).glob("_C*.so")) + sorted(Path(folder).glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return _declared_already("nms")
