"""Make `import torchvision` work where its C++ operators do not load beside this torch.

A CPU build of torch beside the package index's torchvision, which is built against CUDA, fails at `import torchvision`
with "operator torchvision::nms does not exist": Python code registers fake kernels for operators that the C++ library
should have declared. timm and diffusers import torchvision, but nothing here calls its C++ operators.
"""

import torch

# The operators for which torchvision's Python code registers fake kernels at import.
SCHEMAS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
           "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_libraries: list[torch.library.Library] = []  # declarations end with the Library object that made them


def declare_missing() -> None:
    """Import torchvision, if it is installed; where that fails, declare its operators and import it again.

    Call it before the first import of timm or diffusers.
    """
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        import torchvision  # noqa: F401
