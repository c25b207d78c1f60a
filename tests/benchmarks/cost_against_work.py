"""What training the denoiser costs at once, twice and four times the images, the pixels and the batch.

    python tests/benchmarks/cost_against_work.py [--profile phantom]

Every row is a process of its own: some updates of the profile's network on random frames that lie in a memory-mapped
pack. It tells images a second and the peak of memory that is not the map. Memory may grow with pixels and batch, not
with the number of images. About 4 minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import keep

from synthplanes.command import run
from synthplanes.data.packs import open_frames
from synthplanes.protocol.profiles import read_profile

IMAGES = 50_000
UPDATES = 12
FACTORS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--one", nargs=4, metavar=("FILE", "IMAGES", "SIZE", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    profile = read_profile(arguments.profile)
    if arguments.one:
        file, *numbers = arguments.one
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
                frames(file, n, pixels)
                done = subprocess.run([sys.executable, __file__, "--profile", arguments.profile, "--one", str(file), str(n),
                                       str(pixels), str(of)], capture_output=True, text=True, check=True)
            rows.append(dict(grows=name, times=factor, images=n, image_size=pixels, batch=of, **json.loads(done.stdout)))
            print(rows[-1], flush=True)
    keep("cost_against_work", dict(updates=UPDATES, rows=rows))


def frames(file: Path, n: int, size: int) -> None:
    """Random frames uint8 [n, size, size], written a thousand at a time."""
    rng = np.random.default_rng(0)
    with open_frames(file, (n, size, size)) as written:
        for start in range(0, n, 1000):
            written[start:start + 1000] = rng.integers(0, 256, (min(1000, n - start), size, size), dtype=np.uint8)


def measure(profile, file: Path, n: int, size: int, batch: int) -> dict:
    """Images a second after the first updates, and the peak of private memory."""
    from synthplanes.compute.devices import prepare_torch
    from synthplanes.data.selection import LabelledImages
    from synthplanes.diffusion import training
    mapped = np.load(file, mmap_mode="r")
    labels = np.arange(n) % 6
    images = LabelledImages(mapped, labels, np.full(n, ""), np.arange(n).astype(str), tuple("abcdef"))
    few = LabelledImages(np.array(mapped[:batch]), labels[:batch], images.scanners[:batch], images.image_ids[:batch],
                         images.classes)
    device, times, memory = prepare_torch(threads=1), [], []

    class Watch(training.NoCheckpoints):
        def due(self) -> bool:  # asked after every update
            times.append(time.perf_counter())
            memory.append(private_memory())
            return False

    parameters = profile.train_diffusion.model_copy(update=dict(
        batch_size=batch, images_seen=UPDATES * batch, held_out_every_images=UPDATES * batch, early_average_share=0.0))
    training.train(images, few, parameters, 0, 0, device, profile.compute.threads, Watch())
    return dict(images_per_second=round(batch * (len(times) - 3) / (times[-1] - times[2]), 1),
                private_memory_gib=round(max(memory), 3), mapped_gib=round(mapped.nbytes / 2**30, 3))


def private_memory() -> float:
    """Resident memory of this process that belongs to no file, in GiB."""
    line, = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    run(main)
