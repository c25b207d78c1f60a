"""Fix the CPU instructions that numpy, scipy and torch compute with, so that other CPUs give the same bytes.

Each of these libraries picks the widest vector instructions that a CPU has, and the picks differ in the last bits of
sums and of functions such as exp. Environment variables narrow the choice to AVX2, which every x86-64-v3 CPU has; they
must be set before the libraries load. `MKL_CBWR=COMPATIBLE` is the one mode of MKL that CPUs of all vendors share.
"""

import os
import sys
from pathlib import Path

from synthplanes.errors import UserError

CHOICE = "SYNTHPLANES_INSTRUCTIONS"  # of this process and those that it starts: avx2 (where unset) or native
PINS = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "1",  # OpenBLAS divides sums by the number of cores
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}


def chosen() -> str:
    """Return the instruction set of this process: `avx2` or `native`."""
    return os.environ.get(CHOICE, "avx2")


def pin() -> None:
    """Set the variables, for this process and its children; the package calls it before anything else is imported."""
    if chosen() == "avx2" and not _loaded_unpinned():
        os.environ.update(PINS)


def require(instructions: str) -> None:
    """Make sure that this process computes with `instructions`, `avx2` or `native`: start it anew if it does not.

    Raises `UserError` where the CPU has no AVX2, or where numpy, scipy or torch was loaded before the variables were
    set.
    """
    if instructions != chosen():
        kept = {name: value for name, value in os.environ.items() if PINS.get(name) != value}
        os.execve(sys.executable, sys.orig_argv, kept | {CHOICE: instructions})
    if instructions == "native":
        return
    if early := _loaded_unpinned():
        raise UserError(f"{', '.join(early)} was imported before synthplanes and computes with other instructions than "
                        "compute.instructions says: import synthplanes first, or set the variables of "
                        "synthplanes.instructions.PINS in the environment.")
    if not _has_avx2():
        raise UserError("this CPU has no AVX2 instructions: set compute.instructions of the profile to native in "
                        "params.yaml.")


def _loaded_unpinned() -> list[str]:
    pinned = all(os.environ.get(name) == value for name, value in PINS.items())
    return [] if pinned else sorted({"numpy", "scipy", "torch"} & set(sys.modules))


def _has_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")  # where there is none, not on Linux, the libraries decide
    return not cpuinfo.is_file() or {"avx2", "fma"} <= set(cpuinfo.read_text(encoding="ascii").split())
