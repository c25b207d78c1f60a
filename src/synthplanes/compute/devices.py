"""Choose where torch computes, and with how many threads."""

import os

import torch

from synthplanes.instructions import chosen, require


def prepare_torch(threads: int) -> torch.device:
    """Fix the number of CPU threads, ask for deterministic kernels, and return the device to compute on.

    The number of threads decides how sums are split, hence the last bits of every trained weight. On a CUDA device,
    torch warns of kernels without a deterministic form, and equal bytes are not guaranteed. Raises `UserError` where
    this process, such as a worker of a cluster, computes with other CPU instructions than its parent chose.
    """
    require(chosen())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # otherwise cuBLAS sums in no fixed order
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for bugs that costs time and changes no byte
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False
        return torch.device("cuda")
    return torch.device("cpu")


def platform(instructions: str, threads: int) -> dict[str, str | int]:
    """Return what decides the last bits of a result besides code, parameters and inputs, as JSON values."""
    # What torch uses: a CPU's instruction set such as "AVX2", or "cuda".
    capability = "cuda" if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    return {"instructions": instructions, "threads": threads, "torch": str(torch.__version__), "capability": capability}
