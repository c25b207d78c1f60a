"""Where torch computes, and with how many threads."""

import os

import torch


def prepare_torch(threads: int) -> torch.device:
    """Fix the number of CPU threads and ask for deterministic kernels; returns the device to compute on.

    The thread count decides how sums are split, hence the last bits of every trained weight: it is a
    tracked parameter. A CUDA device is used where one is present; there, torch warns of kernels that it has
    in no deterministic form, and the promise of equal bytes does not hold.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS sums in any order
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for bugs, not for bytes, that costs time
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False
        return torch.device("cuda")
    return torch.device("cpu")
