"""Measure what training the denoiser costs at once, twice and four times the images, the pixels and the batch.

    python tests/benchmarks/cost_against_work.py [--profile phantom]

Every row is a process of its own: some updates of the profile's network on random frames that lie in a memory-mapped
pack. A row has the images a second and the peak of memory that is not the map. Memory may grow with pixels and batch,
not with the number of images. Writes `cost_against_work` into artifacts/benchmarks.json: about 4 minutes.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measured import FILE, keep

from synthplanes.command import run
from synthplanes.compute.checkpoints import Piece
from synthplanes.compute.devices import prepare_torch
from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.training import Task, train
from synthplanes.protocol.profiles import Profile, read_profile

IMAGES = 50_000
UPDATES = 12
FACTORS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--row", nargs=4, metavar=("FILE", "IMAGES", "SIZE", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    if arguments.row:
        file, *numbers = arguments.row
        return print(json.dumps(measure(profile, Path(file), *map(int, numbers))))
    size, batch = profile.prepare.image_size, profile.train_diffusion.batch_size
    rows = []
    for name, scale in (("images", lambda f: (IMAGES * f, size, batch)),
                        ("pixels", lambda f: (IMAGES, round(size * f**.5 / 8) * 8, batch)),
                        ("batch", lambda f: (IMAGES, size, batch * f))):
        for factor in FACTORS:
            n, pixels, of = scale(factor)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "images.npy"
                write_frames(file, n, pixels)
                row = [str(part) for part in (file, n, pixels, of)]
                done = subprocess.run([sys.executable, __file__, "--profile", arguments.profile, "--row", *row],
                                      stdout=subprocess.PIPE, text=True, check=True)
            rows.append(dict(grows=name, times=factor, images=n, image_size=pixels, batch=of,
                             **json.loads(done.stdout)))
            print(rows[-1], flush=True)
    keep("cost_against_work", dict(updates=UPDATES, rows=rows), arguments.out)


def write_frames(file: Path, n: int, size: int) -> None:
    """Write random frames uint8 [n, size, size], a thousand at a time."""
    rng = np.random.default_rng(0)
    written = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(n, size, size))
    for start in range(0, n, 1000):
        written[start:start + 1000] = rng.integers(0, 256, (min(1000, n - start), size, size), dtype=np.uint8)


def measure(profile: Profile, file: Path, n: int, size: int, batch: int) -> dict[str, Any]:
    """Return the images a second after the first updates, and the peak of private memory."""
    mapped = np.load(file, mmap_mode="r")
    labels = np.arange(n) % 6
    images = LabelledImages(mapped, labels, np.full(n, ""), np.arange(n).astype(str), tuple("abcdef"))
    few = LabelledImages(np.array(mapped[:batch]), labels[:batch], images.scanners[:batch], images.image_ids[:batch],
                         images.classes)
    times: list[float] = []
    memory: list[float] = []

    class Watch(Piece):
        def due(self) -> bool:  # asked after every update but the last
            times.append(time.perf_counter())
            memory.append(private_memory())
            return False

    parameters = profile.train_diffusion.model_copy(update=dict(
        batch_size=batch, images_seen=UPDATES * batch, held_out_every_images=UPDATES * batch,
        early_average_fraction=0.0))
    task = Task(images, few, parameters, root_seed=0, threads=profile.compute.threads)
    train(task, prepare_torch(threads=1), Watch())
    return dict(images_per_second=round(batch * (len(times) - 3) / (times[-1] - times[2]), 1),
                private_memory_gib=round(max(memory), 3), mapped_gib=round(mapped.nbytes / 2**30, 3))


def private_memory() -> float:
    """Return the resident memory of this process that belongs to no file, in GiB."""
    line, = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    run(main)
