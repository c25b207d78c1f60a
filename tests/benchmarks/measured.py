"""Where benchmarks put what they measured: metrics/benchmarks.json, one key each, beside the class of machine."""

import os
from pathlib import Path

import torch

from synthplanes import records

FILE = Path(__file__).resolve().parents[2] / "metrics" / "benchmarks.json"


def keep(name: str, found: dict, file: Path = FILE) -> None:
    """Put `found` under `name`, and leave what other benchmarks measured."""
    kept = records.read_json(file) if file.exists() else {}
    machine = dict(cores=len(os.sched_getaffinity(0)), vector_instructions=torch.backends.cpu.get_cpu_capability(),
                   torch=torch.__version__.split("+")[0])
    records.write_json(file, {**kept, name: dict(machine=machine, **found)})
