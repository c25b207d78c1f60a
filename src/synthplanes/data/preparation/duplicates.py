"""Find duplicate images: exact ones (decoded pixels) and near ones (perceptual hash, confirmed by correlation)."""

import hashlib
from collections import defaultdict
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.fft import dctn

# Chosen on pairs of the 450 African images. Exact duplicates aside, 9 pairs of different patients have a
# distance of 8 or less and a correlation of 0.95 or more, and all 9 show one scan at another zoom, contrast or moment
# (0.959 is the least alike of them). The next pair at that distance, 0.933, shows two different femurs. Distance alone
# is no evidence: unlike femurs reach distance 6, since a dark sector fills both. Correlation alone needs all pairs.
HAMMING_DISTANCE = 8    # of 64 bits, at most
CORRELATION = 0.95      # of 32 x 32 thumbnails, at least
THUMBNAIL_SIZE = 32     # pixels
_ROWS_AT_A_TIME = 256
_PAIRS_AT_A_TIME = 4096


def pixel_sha256(grey: np.ndarray) -> str:
    """Hash shape and pixels of uint8 [H, W] by SHA-256 (hexadecimal); file format and colour mode play no part."""
    return hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}:".encode() + grey.tobytes()).hexdigest()


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """Stretch uint8 [H, W] to a small square, uint8 [32, 32]."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.array(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def perceptual_hash(small: np.ndarray) -> np.uint64:
    """Compute the 64-bit DCT hash (pHash) of a thumbnail, uint8 [32, 32].

    Bit i says whether the i-th of the 8 x 8 lowest cosine coefficients exceeds the median of all but the mean.
    """
    low = dctn(small.astype(np.float64), norm="ortho")[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).view(np.uint64)[0]


def exact_pairs(sha256: np.ndarray) -> np.ndarray:
    """Return all pairs (i < j, sorted) of rows with equal `sha256` (str [N]; '' is no image) as integer [M, 2]."""
    rows_of = defaultdict(list)
    for row, digits in enumerate(sha256.tolist()):
        if digits:
            rows_of[digits].append(row)
    pairs = [pair for rows in rows_of.values() for pair in combinations(rows, 2)]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray, distance: int = HAMMING_DISTANCE,
               correlation: float = CORRELATION) -> np.ndarray:
    """Return all pairs (i < j) of nearly equal images as integer [M, 2]; exact duplicates are among them.

    The hashes of a pair (uint64 [N]) differ in at most `distance` bits, and its thumbnails (uint8 [N, 32, 32])
    correlate at `correlation` or more.
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
