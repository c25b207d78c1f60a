"""The most memory that a command and all its children take together, and the largest single process.

    python tests/benchmarks/peak_memory.py dvc repro

Twice a second it adds the proportional set sizes (memory that processes share is counted once); where the
system does not tell them, the resident sizes. The table goes to standard error; the command's exit code is
passed on.
"""

import subprocess
import sys
import time

import psutil

INTERVAL = 0.5  # seconds


def main(command: list[str]) -> int:
    process = subprocess.Popen(command)
    together = largest = 0.0
    while process.poll() is None:
        sizes = [size for one in family(process.pid) if (size := gibibytes(one)) is not None]
        together, largest = max([together, sum(sizes)]), max([largest, *sizes])
        time.sleep(INTERVAL)
    print(f"peak memory: {together:.2f} GiB all processes together, {largest:.2f} GiB the largest of them",
          file=sys.stderr)
    return process.returncode


def family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def gibibytes(process: psutil.Process) -> float | None:
    """A process's share of memory; None when it has ended meanwhile."""
    try:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.rss) / 2**30
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
