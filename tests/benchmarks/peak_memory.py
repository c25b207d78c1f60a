"""Measure the most memory that a command and all its children take together, and the largest single process.

    python tests/benchmarks/peak_memory.py dvc repro

Twice a second it adds the proportional set sizes, in which memory that processes share is counted once. Where the
system does not give them, it adds the resident sizes. The result goes to standard error, and the command's exit status
is passed on.
"""

import argparse
import subprocess
import sys
import time

import psutil

INTERVAL = 0.5  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", help="a program that is on the path")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    parsed = parser.parse_args()
    process = subprocess.Popen([parsed.command, *parsed.arguments])
    together = largest = 0.0
    while process.poll() is None:
        sizes = [size for member in family(process.pid) if (size := gibibytes(member)) is not None]
        together, largest = max([together, sum(sizes)]), max([largest, *sizes])
        time.sleep(INTERVAL)
    print(f"peak memory: {together:.2f} GiB all processes together, {largest:.2f} GiB the largest of them",
          file=sys.stderr)
    return process.returncode


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its children; none where it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def gibibytes(process: psutil.Process) -> float | None:
    """Return a process's share of memory, or None where it has ended meanwhile."""
    try:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.rss) / 2**30  # not every system has the first
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


if __name__ == "__main__":
    sys.exit(main())
