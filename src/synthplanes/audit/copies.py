"""Count possible copies: synthetic images nearer to a training image than held-out real images are.

Distances are Euclidean between block-averaged frames with mean 0 and norm 1, so they do not depend on brightness and
contrast: 0 is the same picture, 2 its negative. The reference distances are those of real images of *other patients*
(the budget's validation patients) to their nearest training image. A synthetic image counts as a possible copy if it is
nearer than 99 % of these.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthplanes import records

SHOWN = 12         # nearest pairs in the picture
THUMBNAIL = 16     # px
QUANTILE = 0.01    # of the reference distances
_ROWS_AT_A_TIME = 512


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Reduce uint8 [N, H, W] to float32 [N, THUMBNAIL^2], each of mean 0 and norm 1 (a constant frame stays 0)."""
    shares = block_shares(images.shape[1])
    small = (shares @ images.astype(np.float32) @ shares.T).reshape(len(images), -1)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def block_shares(size: int) -> np.ndarray:
    """Return each pixel's weight in the mean of each of THUMBNAIL equal blocks: float32 [THUMBNAIL, size]."""
    edges = np.linspace(0, size, THUMBNAIL + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (np.maximum(overlap, 0) * THUMBNAIL / size).astype(np.float32)


def nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each query's nearest reference: (distance float [N], position int [N]); both are unit vectors [., D]."""
    similarity, position = [], []
    for start in range(0, len(queries), _ROWS_AT_A_TIME):
        products = queries[start:start + _ROWS_AT_A_TIME] @ references.T
        position.append(products.argmax(axis=1))
        similarity.append(products.max(axis=1))
    return np.sqrt(np.maximum(0, 2 - 2 * np.concatenate(similarity))), np.concatenate(position)


def count_copies(synthetic: np.ndarray, train: np.ndarray, held_out: np.ndarray, picture: Path) -> dict[str, Any]:
    """Count possible copies, and write a picture of the SHOWN nearest pairs (synthetic above real).

    All images are uint8 [N, H, W].
    """
    references = thumbnails(train)
    distance, position = nearest(thumbnails(synthetic), references)
    yardstick, _ = nearest(thumbnails(held_out), references)
    threshold = float(np.quantile(yardstick, QUANTILE))
    worst = np.argsort(distance, kind="stable")[:SHOWN]
    pairs = np.concatenate([np.concatenate(list(synthetic[worst]), axis=1),
                            np.concatenate(list(train[position[worst]]), axis=1)])
    with records.replacing(picture) as temporary:
        Image.fromarray(pairs).save(temporary, format="PNG")
    return {"median_distance": round(float(np.median(distance)), 4),
            "median_distance_of_held_out_images": round(float(np.median(yardstick)), 4),
            "threshold": round(threshold, 4), "nearer_than_threshold": int((distance < threshold).sum()),
            "share_nearer_than_threshold": round(float((distance < threshold).mean()), 6), "images": len(synthetic)}
