"""Decode all images of a source once, and keep what the guards need of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes.data import images
from synthplanes.data.preparation import duplicates
from synthplanes.data.sources.opening import Source
from synthplanes.errors import UserError
from synthplanes.progress import Progress


@dataclass(frozen=True)
class Scan:
    """The decoded properties of every table row; unusable rows hold '' and zeros."""

    sha256: np.ndarray          # str [N], of the native grey pixels
    hashes: np.ndarray          # uint64 [N], perceptual
    thumbnails: np.ndarray      # uint8 [N, 32, 32]
    sizes: np.ndarray           # int64 [N, 2], native height and width in pixels
    missing: np.ndarray         # bool [N], no file
    unreadable: dict[int, str]  # row: why it cannot be used (damaged, or the same value everywhere)

    @property
    def usable(self) -> np.ndarray:
        """Return which rows have a usable image, bool [N]."""
        return self.sha256 != ""


def scan(source: Source, frames: np.ndarray | None = None, text_boxes: Sequence[images.Box] = ()) -> Scan:
    """Decode every image of `source` once, in table order, and hold only one at a time in memory.

    With `frames` (uint8 [N, size, size], possibly a memory map) each usable image is also written into its row: masked,
    padded and reduced as by `images.frame`.
    """
    count = len(source.table)
    missing = np.zeros(count, dtype=bool)
    missing[source.missing()] = True
    sha256, unreadable = [""] * count, {}
    hashes = np.zeros(count, dtype=np.uint64)
    thumbnails = np.zeros((count, duplicates.THUMBNAIL_SIZE, duplicates.THUMBNAIL_SIZE), dtype=np.uint8)
    sizes = np.zeros((count, 2), dtype=np.int64)
    rows = np.flatnonzero(~missing).tolist()
    progress = Progress("reading", len(rows), "images")
    for done, row in enumerate(rows, start=1):
        try:
            grey = _decode(source, row)
        except UserError as error:
            unreadable[row] = str(error)
        else:
            sha256[row] = duplicates.pixel_sha256(grey)
            thumbnails[row] = duplicates.thumbnail(grey)
            hashes[row] = duplicates.perceptual_hash(thumbnails[row])
            sizes[row] = grey.shape
            if frames is not None:
                frames[row] = images.frame(grey, frames.shape[1], text_boxes)
        progress(done)
    return Scan(np.array(sha256, dtype=np.str_), hashes, thumbnails, sizes, missing, unreadable)


def _decode(source: Source, row: int) -> np.ndarray:
    grey = source.decode(row)
    if grey.min() == grey.max():
        raise UserError(f"{source.table['file'].iloc[row]} is empty (every pixel is {grey.min()}): "
                        "fetch it again or remove its row from the table.")
    return grey
