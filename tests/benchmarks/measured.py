"""Keep what benchmarks measure in artifacts/benchmarks.json: one key for each, beside the class of machine."""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from synthplanes import records

FILE = Path(__file__).resolve().parents[2] / "artifacts" / "benchmarks.json"


def keep(name: str, measured: Mapping[str, Any], file: Path = FILE) -> None:
    """Write `measured` under `name`, and leave what other benchmarks measured as it is."""
    kept = records.read_json(file) if file.exists() else {}
    machine = dict(cores=len(os.sched_getaffinity(0)), vector_instructions=torch.backends.cpu.get_cpu_capability(),
                   torch=torch.__version__.split("+")[0])
    records.write_json(file, {**kept, name: dict(machine=machine, **measured)})
