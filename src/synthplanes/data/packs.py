"""Write, read and draw packs: the frames of one set as one array, with a table beside it.

DVC checks out one `images.npy` ten times faster than thousands of small files, and a reader maps it into memory without
decoding anything.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from synthplanes import records
from synthplanes.errors import UserError

IMAGES_FILE = "images.npy"
INDEX_FILE = "index.csv"
_FRAMES_AT_A_TIME = 256
# Of a contact sheet, in pixels; frames below the minimum are enlarged by a whole factor.
_GAP, _CAPTION_HEIGHT, _MIN_FRAME = 2, 14, 64


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

    With `rows` (integer [N]) only those frames are written, in that order and a few at a time: `images` may be a map.
    """
    rows = np.arange(len(images)) if rows is None else rows
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"a pack holds uint8 [N, H, W], not {images.dtype} {list(images.shape)}")
    header = dict(descr="|u1", fortran_order=False, shape=(len(rows), *images.shape[1:]))
    with records.replacing(folder / IMAGES_FILE) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _FRAMES_AT_A_TIME):
            file.write(images[rows[start:start + _FRAMES_AT_A_TIME]].tobytes())
    records.write_table(folder / INDEX_FILE, index, schema)


def temporary_frames(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a writable uint8 array [N, H, W] on the disk of `folder`. The space is freed with the array."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            frames = np.memmap(file, np.uint8, "w+", shape=shape)
            # A mapped write to a full disk would kill the process.
            os.posix_fallocate(file.fileno(), 0, frames.nbytes)
            return frames
    except OSError as error:
        raise UserError(f"{folder} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command again.") from error


def read_pack(folder: Path, schema: records.Schema = records.INDEX) -> Pack:
    """Read the pack in `folder`; missing, damaged or ill-matched files raise `UserError`."""
    images = records.read_array(folder / IMAGES_FILE)
    index = records.read_table(folder / INDEX_FILE, schema)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise UserError(f"{folder / IMAGES_FILE} holds {images.dtype} {list(images.shape)} instead of uint8 "
                        "[N, H, W]: delete it and run its stage again.")
    if len(images) != len(index):
        raise UserError(f"{folder} holds {len(images)} frames and {len(index)} rows of {schema.name}: delete "
                        "the folder and run its stage again.")
    return Pack(images, index)


def write_contact_sheet(path: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str],
                        columns: int = 8) -> None:
    """Draw a row of frames (uint8 [N, H, W]) for each class, evenly spread over those of that label (str [N])."""
    scale = max(1, -(-_MIN_FRAME // images.shape[2]))
    height, width = images.shape[1] * scale, images.shape[2] * scale
    row_height = _CAPTION_HEIGHT + height + _GAP
    sheet = Image.new("L", (columns * (width + _GAP) + _GAP, len(classes) * row_height + _GAP), 40)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for line, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        top = line * row_height
        draw.text((_GAP, top), f"{label}: {len(rows):,} images", fill=255, font=font)
        spread = np.unique(np.linspace(0, len(rows) - 1, columns).round().astype(int))
        for column, row in enumerate(rows[spread] if len(rows) else rows):
            frame = Image.fromarray(np.array(images[row])).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(frame, (_GAP + column * (width + _GAP), top + _CAPTION_HEIGHT))
    with records.replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
