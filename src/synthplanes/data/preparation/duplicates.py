"""The same image twice: exactly (decoded pixels) or nearly (perceptual hash, confirmed by correlation)."""

import hashlib

import numpy as np
from PIL import Image
from scipy.fft import dctn

# Chosen by looking at pairs of the 450 African images. Exact duplicates aside, 9 pairs of different patients
# have a distance of 8 or less and a correlation of 0.95 or more, and all 9 show one scan at another zoom,
# contrast or moment (0.959 is the least alike of them). The next pair at that distance, 0.933, shows two
# different femurs. Distance alone is no evidence: unlike femurs reach distance 6, since a dark sector fills
# both. Correlation alone needs all pairs.
HAMMING_DISTANCE = 8  # of 64 bits, at most
CORRELATION = 0.95  # of 32 x 32 thumbnails, at least
THUMBNAIL_SIZE = 32  # pixels
_ROWS_AT_A_TIME = 256
_PAIRS_AT_A_TIME = 4096


def pixel_digest(grey: np.ndarray) -> str:
    """SHA-256 (hexadecimal) of shape and pixels of uint8 [H, W]; file format and colour mode play no part."""
    return hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}:".encode() + grey.tobytes()).hexdigest()


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """uint8 [H, W] -> uint8 [32, 32], stretched to a square."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.array(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def perceptual_hash(small: np.ndarray) -> np.uint64:
    """The 64-bit DCT hash (pHash) of a thumbnail uint8 [32, 32].

    Bit i says whether the i-th of the 8 x 8 lowest cosine coefficients exceeds the median of all but the
    mean.
    """
    low = dctn(small.astype(np.float64), norm="ortho")[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).view(np.uint64)[0]


def exact_pairs(digests: np.ndarray) -> np.ndarray:
    """integer [M, 2]: all pairs (i < j, sorted) of equal entries of `digests` (str [N]); '' is no image."""
    _, group = np.unique(digests, return_inverse=True)
    order = np.argsort(group, kind="stable")
    borders = np.flatnonzero(np.diff(group[order])) + 1
    pairs = [(int(one), int(other))
             for members in np.split(order, borders) if len(members) > 1 and digests[members[0]]
             for position, one in enumerate(members) for other in members[position + 1:]]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray, distance: int = HAMMING_DISTANCE,
               correlation: float = CORRELATION) -> np.ndarray:
    """integer [M, 2]: all pairs (i < j, sorted) whose hashes (uint64 [N]) differ in at most `distance` bits
    and whose thumbnails (uint8 [N, 32, 32]) correlate at `correlation` or more; exact duplicates are among
    them.
    """
    # Of mean 0 and length 1: the scalar product is Pearson's correlation. A constant thumbnail is all 0.
    unit = thumbnails.reshape(len(thumbnails), THUMBNAIL_SIZE ** 2).astype(np.float32)
    unit -= unit.mean(axis=1, keepdims=True)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(hashes), _ROWS_AT_A_TIME):
        rows = hashes[start:start + _ROWS_AT_A_TIME, None]
        candidates = np.argwhere(np.bitwise_count(rows ^ hashes[None, start:]) <= distance) + start
        candidates = candidates[candidates[:, 0] < candidates[:, 1]]
        for part in np.array_split(candidates, len(candidates) // _PAIRS_AT_A_TIME + 1):
            alike = np.einsum("mp,mp->m", unit[part[:, 0]], unit[part[:, 1]]) >= correlation
            found.append(part[alike])
    return np.concatenate(found)
