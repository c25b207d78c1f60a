"""Decode all images of a source once, and look at each: its pixels, its thumbnails, its grey levels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from synthplanes.data import images
from synthplanes.data.sources.opening import Source
from synthplanes.errors import UserError
from synthplanes.progress import Progress

THUMBNAIL_SIZE = 32     # pixels
# A mask has two values, or nearly so once it was a JPEG. Real images have 9 % and more elsewhere, the phantom's 3.8 %.
_NEAR_LEVEL, _LEAST_ELSEWHERE = 12, 0.01  # grey levels around the two commonest; fraction of pixels beyond these
FEW_LEVELS = 16         # grey levels; the real images have 110 and more, the phantom's 34
_FEWEST_SCALED = 32     # levels that must be left of 16-bit grey
_BORDER_RANGE = 24      # grey levels; a row or column of a border has no more, 2 % of its pixels at each end left out


@dataclass(frozen=True)
class Scan:
    """The decoded properties of every table row; unusable rows hold '' and zeros."""

    sha256: np.ndarray          # str [N], of the native grey pixels
    thumbnails: np.ndarray      # uint8 [N, 32, 32]
    trimmed: np.ndarray         # uint8 [N, 32, 32], thumbnails without the frame's border
    sizes: np.ndarray           # int64 [N, 2], native height and width in pixels
    levels: np.ndarray          # int64 [N], how many grey levels an image has
    missing: np.ndarray         # integer [M], the rows without a file
    unreadable: dict[int, str]  # row: why it cannot be used (damaged, a mask, the same value everywhere)
    deep: dict[int, int]        # row of 16-bit grey: its largest value

    @property
    def usable(self) -> np.ndarray:
        """Return which rows have a usable image, bool [N]."""
        return self.sha256 != ""


def scan(source: Source, frames: np.ndarray | None = None, text_boxes: Sequence[Sequence[float]] = ()) -> Scan:
    """Decode every image of `source` once, in table order, and hold only one at a time in memory.

    16-bit grey is decoded twice: the set as a whole is scaled from the smallest power of two, 256 at least, that holds
    its largest value. With `frames` (uint8 [N, size, size]) each usable image is also written into its row, as by
    `images.frame`.
    """
    count, missing = len(source.table), source.missing()
    small = np.zeros((2, count, THUMBNAIL_SIZE, THUMBNAIL_SIZE), dtype=np.uint8)
    found = Scan(np.zeros(count, dtype="U64"), small[0], small[1], np.zeros((count, 2), dtype=np.int64),
                 np.zeros(count, dtype=np.int64), missing, {}, {})

    def look(row: int, native: np.ndarray, bits: int = 8) -> None:
        grey = images.to_8_bit(native, bits)
        found.levels[row] = np.count_nonzero(np.bincount(grey.ravel()))
        _refuse(source.table["file"].iloc[row], native, grey, bits)
        found.sha256[row] = pixel_sha256(grey)
        found.thumbnails[row], found.trimmed[row] = thumbnail(grey), thumbnail(trim(grey))
        found.sizes[row] = grey.shape
        if frames is not None:
            frames[row] = images.frame(grey, frames.shape[1], text_boxes)

    rows = np.setdiff1d(np.arange(count), missing).tolist()
    progress = Progress("reading", len(rows), "images")
    for done, row in enumerate(rows, start=1):
        try:
            native = source.decode(row)
            if native.dtype == np.uint8:
                look(row, native)
            else:
                found.deep[row] = int(native.max())
        except UserError as error:
            found.unreadable[row] = str(error)
        progress(done)
    for row in found.deep:
        try:
            look(row, source.decode(row), depth(found.deep))
        except UserError as error:
            found.unreadable[row] = str(error)
    return found


def depth(deep: dict[int, int]) -> int:
    """Return with how many bits, 8 at least, the set's 16-bit images (row: largest value) are written."""
    return max(8, max(deep.values()).bit_length())


def _refuse(file: str, native: np.ndarray, grey: np.ndarray, bits: int) -> None:
    """Raise `UserError` for an image that shows nothing, and for one that shows nothing once it is `grey`."""
    if native.min() == native.max():
        raise UserError(f"{file} is empty (every pixel is {native.min()}): "
                        "fetch it again or remove its row from the table.")
    counts = np.bincount(grey.ravel(), minlength=256)
    levels, written = np.count_nonzero(counts), len(np.unique(native))
    if levels < min(written, _FEWEST_SCALED):
        raise UserError(f"{file} keeps {levels} of its {written} grey levels: its values, {native.min():,} to "
                        f"{native.max():,}, are a small part of the set's 0 to {2 ** bits - 1:,}: save all images with "
                        "one scale.")
    margin = min(_NEAR_LEVEL, (int(grey.max()) - int(grey.min())) // 8)
    for _ in range(2):
        commonest = int(counts.argmax())
        counts[max(0, commonest - margin):commonest + margin + 1] = 0
    if counts.sum() < _LEAST_ELSEWHERE * grey.size:
        raise UserError(f"{file} is black and white, as a mask is: remove its row from the table, or name the image "
                        "that belongs to it.")


def pixel_sha256(grey: np.ndarray) -> str:
    """Hash shape and pixels of uint8 [H, W] by SHA-256 (hexadecimal); file format and colour mode play no part."""
    return hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}:".encode() + grey.tobytes()).hexdigest()


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """Stretch uint8 [H, W] to a small square, uint8 [32, 32]."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.array(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def trim(grey: np.ndarray) -> np.ndarray:
    """Cut the border off, black or of any grey: rows and columns at the edges that hold nearly one value."""
    for _ in range(4):  # rows and columns twice: a black margin comes to light once a grey border is off
        last = grey.shape[1] - 1
        ends = np.partition(grey, [last // 50, last - last // 50], axis=1)[:, [last // 50, last - last // 50]]
        inside = np.flatnonzero(ends[:, 1].astype(int) - ends[:, 0] > _BORDER_RANGE)
        grey = (grey[inside[0]:inside[-1] + 1] if len(inside) else grey).T
    return np.ascontiguousarray(grey)
