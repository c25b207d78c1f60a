"""One pass over all images of a source: each is decoded once, and what the guards need of it is kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthplanes.data.preparation import duplicates
from synthplanes.data.sources.opening import Source
from synthplanes.errors import UserError
from synthplanes.progress import Progress


@dataclass(frozen=True)
class Scan:
    """Per table row, what one decoding showed; rows that could not be decoded hold '' and zeros."""

    digests: np.ndarray  # str [N], SHA-256 of the native grey pixels
    hashes: np.ndarray  # uint64 [N], perceptual
    thumbnails: np.ndarray  # uint8 [N, 32, 32]
    sizes: np.ndarray  # integer [N, 2], native height and width in pixels
    missing: np.ndarray  # bool [N], no file
    unreadable: dict[int, str]  # row: one sentence (damaged, or the same value everywhere)

    @property
    def usable(self) -> np.ndarray:
        """bool [N]"""
        return self.digests != ""


def scan(source: Source, each: Callable[[int, np.ndarray], None] = lambda row, grey: None) -> Scan:
    """Decode every image of `source` once, in table order; `each(row, grey)` gets every usable one."""
    count = len(source.table)
    missing = np.zeros(count, dtype=bool)
    missing[source.missing()] = True
    digests, unreadable = [""] * count, {}
    hashes = np.zeros(count, dtype=np.uint64)
    thumbnails = np.zeros((count, duplicates.THUMBNAIL_SIZE, duplicates.THUMBNAIL_SIZE), dtype=np.uint8)
    sizes = np.zeros((count, 2), dtype=np.int64)
    rows = np.flatnonzero(~missing).tolist()
    progress = Progress("reading", len(rows), "images")
    for done, row in enumerate(rows, start=1):
        try:
            grey = source.decode(row)
        except UserError as error:
            unreadable[row] = str(error)
        else:
            if grey.min() == grey.max():
                unreadable[row] = (f"{source.table['file'][row]} is empty (every pixel is {grey.min()}): "
                                   "fetch it again or remove its row from the table.")
            else:
                digests[row] = duplicates.pixel_digest(grey)
                thumbnails[row] = duplicates.thumbnail(grey)
                hashes[row] = duplicates.perceptual_hash(thumbnails[row])
                sizes[row] = grey.shape
                each(row, grey)
        progress(done)
    return Scan(np.array(digests, dtype=np.str_), hashes, thumbnails, sizes, missing, unreadable)
