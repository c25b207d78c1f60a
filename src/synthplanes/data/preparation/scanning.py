"""Decode all images of a source once, and find duplicates: exact ones (pixels) and near ones (perceptual hash)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn

from synthplanes.data import images
from synthplanes.data.sources.opening import Source
from synthplanes.errors import UserError
from synthplanes.progress import Progress

# Chosen on pairs of the 450 African images. Exact duplicates aside, 9 pairs of different patients have a
# distance of 8 or less and a correlation of 0.95 or more, and all 9 show one scan at another zoom, contrast or moment
# (0.959 is the least alike of them). The next pair at that distance, 0.933, shows two different femurs. Distance alone
# is no evidence: unlike femurs reach distance 6, since a dark sector fills both. Correlation alone needs all pairs.
CORRELATION = 0.95      # of 32 x 32 thumbnails, at least
THUMBNAIL_SIZE = 32     # pixels
_ROWS_AT_A_TIME = 256
_PAIRS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Scan:
    """The decoded properties of every table row; unusable rows hold '' and zeros."""

    sha256: np.ndarray          # str [N], of the native grey pixels
    hashes: np.ndarray          # uint64 [N], perceptual
    thumbnails: np.ndarray      # uint8 [N, 32, 32]
    sizes: np.ndarray           # int64 [N, 2], native height and width in pixels
    missing: np.ndarray         # integer [M], the rows without a file
    unreadable: dict[int, str]  # row: why it cannot be used (damaged, or the same value everywhere)

    @property
    def usable(self) -> np.ndarray:
        """Return which rows have a usable image, bool [N]."""
        return self.sha256 != ""


def scan(source: Source, frames: np.ndarray | None = None, text_boxes: Sequence[Sequence[float]] = ()) -> Scan:
    """Decode every image of `source` once, in table order, and hold only one at a time in memory.

    With `frames` (uint8 [N, size, size]) each usable image is also written into its row, as by `images.frame`.
    """
    count = len(source.table)
    missing = source.missing()
    sha256, unreadable = [""] * count, {}
    hashes = np.zeros(count, dtype=np.uint64)
    thumbnails = np.zeros((count, THUMBNAIL_SIZE, THUMBNAIL_SIZE), dtype=np.uint8)
    sizes = np.zeros((count, 2), dtype=np.int64)
    rows = np.setdiff1d(np.arange(count), missing).tolist()
    progress = Progress("reading", len(rows), "images")
    for done, row in enumerate(rows, start=1):
        try:
            grey = source.decode(row)
            if grey.min() == grey.max():
                raise UserError(f"{source.table['file'].iloc[row]} is empty (every pixel is {grey.min()}): "
                                "fetch it again or remove its row from the table.")
        except UserError as error:
            unreadable[row] = str(error)
        else:
            sha256[row] = pixel_sha256(grey)
            thumbnails[row] = thumbnail(grey)
            hashes[row] = perceptual_hash(thumbnails[row])
            sizes[row] = grey.shape
            if frames is not None:
                frames[row] = images.frame(grey, frames.shape[1], text_boxes)
        progress(done)
    return Scan(np.array(sha256, dtype=np.str_), hashes, thumbnails, sizes, missing, unreadable)


def pixel_sha256(grey: np.ndarray) -> str:
    """Hash shape and pixels of uint8 [H, W] by SHA-256 (hexadecimal); file format and colour mode play no part."""
    return hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}:".encode() + grey.tobytes()).hexdigest()


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """Stretch uint8 [H, W] to a small square, uint8 [32, 32]."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.array(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def perceptual_hash(small: np.ndarray) -> np.uint64:
    """Hash uint8 [32, 32] by pHash: which of the 8 x 8 lowest cosine coefficients exceed the others' median."""
    low = dctn(small.astype(np.float64), norm="ortho")[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).view(np.uint64)[0]


def exact_pairs(sha256: np.ndarray) -> np.ndarray:
    """Return all pairs (i < j, sorted) of rows with equal `sha256` (str [N]; '' is no image) as integer [M, 2]."""
    rows_of = pd.Series(sha256).groupby(sha256).indices
    pairs = [pair for digits, rows in rows_of.items() if digits for pair in combinations(rows, 2)]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray, distance: int,
               correlation: float = CORRELATION) -> np.ndarray:
    """Return all pairs (i < j, exact duplicates among them) of nearly equal images as integer [M, 2].

    Hashes (uint64 [N]) differ in at most `distance` bits, thumbnails (uint8 [N, 32, 32]) reach the `correlation`.
    """
    # With mean 0 and length 1 the scalar product is Pearson's correlation. A constant thumbnail is all 0.
    unit = thumbnails.reshape(len(thumbnails), THUMBNAIL_SIZE ** 2).astype(np.float32)
    unit -= unit.mean(axis=1, keepdims=True)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(hashes), _ROWS_AT_A_TIME):
        rows = hashes[start:start + _ROWS_AT_A_TIME, None]
        candidates = np.argwhere(np.bitwise_count(rows ^ hashes[None, start:]) <= distance) + start
        candidates = candidates[candidates[:, 0] < candidates[:, 1]]
        for part in np.array_split(candidates, len(candidates) // _PAIRS_AT_A_TIME + 1):
            alike = np.einsum("mp,mp->m", unit[part[:, 0]], unit[part[:, 1]]) >= correlation
            pairs.append(part[alike])
    return np.concatenate(pairs)
