"""Where torch computes, and with how many threads."""

import torch


def prepare_torch(threads: int) -> torch.device:
    """Fix the number of CPU threads and ask for deterministic kernels; returns the device to compute on.

    The thread count decides how sums are split, hence the last bits of every trained weight: it is a
    tracked parameter. A CUDA device is used where one is present.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False
        return torch.device("cuda")
    return torch.device("cpu")
