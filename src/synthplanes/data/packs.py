"""Write and read packs: the frames of one set as one array, with a table beside it.

DVC checks out one `images.npy` ten times faster than thousands of small files, and a reader maps it into memory without
decoding anything.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.errors import UserError

IMAGES_FILE = "images.npy"
INDEX_FILE = "index.csv"
_FRAMES_AT_A_TIME = 256


@dataclass(frozen=True)
class Pack:
    """Images with a table whose row i describes `images[i]`."""

    images: np.ndarray  # uint8 [N, H, W], 0..255, memory-mapped and read-only when it comes from `read_pack`
    index: pd.DataFrame

    def __len__(self) -> int:
        return len(self.index)


def write_pack(folder: Path, images: np.ndarray, index: pd.DataFrame, schema: records.Schema = records.INDEX,
               rows: np.ndarray | None = None) -> None:
    """Write `images` (uint8 [N, H, W]) and `index` (N rows) into `folder`, replacing an older pack.

    With `rows` (integer [N]) only those frames of `images` are written, in that order and a few at a time, so that
    `images` may be a memory map larger than memory.
    """
    rows = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"a pack holds uint8 [N, H, W], not {images.dtype} {list(images.shape)}")
    if len(rows) != len(index):
        raise ValueError(f"{len(rows)} frames and {len(index)} rows of {schema.name}")
    folder = Path(folder)
    with open_frames(folder / IMAGES_FILE, (len(rows), *images.shape[1:])) as packed:
        for start in range(0, len(rows), _FRAMES_AT_A_TIME):
            packed[start:start + _FRAMES_AT_A_TIME] = images[rows[start:start + _FRAMES_AT_A_TIME]]
    records.write_table(folder / INDEX_FILE, index, schema)


@contextmanager
def open_frames(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield a writable uint8 array [N, H, W], backed by the .npy file `path` once the block has succeeded."""
    with records.replacing(path) as temporary:
        if 0 in shape:
            # An empty file cannot be mapped; nothing will be written into this array.
            frames = np.zeros(shape, dtype=np.uint8)
            with temporary.open("wb") as file:
                np.save(file, frames, allow_pickle=False)
        else:
            frames = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            with temporary.open("r+b") as file:
                _reserve(file)
        yield frames
        if isinstance(frames, np.memmap):
            frames.flush()


def temporary_frames(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a writable uint8 array [N, H, W] on the disk of `folder`. The space is freed with the array."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            frames = np.memmap(file, np.uint8, "w+", shape=shape)
            _reserve(file)
            return frames
    except OSError as error:
        raise UserError(f"{folder} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command again.") from error


def _reserve(file: IO[bytes]) -> None:
    """Take the disk space of a whole file, since a mapped write to a full disk kills the process; raises `OSError`."""
    os.posix_fallocate(file.fileno(), 0, max(os.fstat(file.fileno()).st_size, 1))


def read_pack(folder: Path, schema: records.Schema = records.INDEX) -> Pack:
    """Read the pack in `folder`; missing, damaged or ill-matched files raise `UserError`."""
    folder = Path(folder)
    images = records.read_array(folder / IMAGES_FILE)
    index = records.read_table(folder / INDEX_FILE, schema)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise UserError(f"{folder / IMAGES_FILE} holds {images.dtype} {list(images.shape)} instead of uint8 "
                        "[N, H, W]: delete it and run its stage again.")
    if len(images) != len(index):
        raise UserError(f"{folder} holds {len(images)} frames and {len(index)} rows of {schema.name}: delete "
                        "the folder and run its stage again.")
    return Pack(images, index)
