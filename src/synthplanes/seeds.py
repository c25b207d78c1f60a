"""Derive random seeds: every draw has a root seed, a purpose and an index (an arm's name, an image's number).

Two draws with different purposes or indices are independent; the same triple gives the same bits on every machine. The
set of images therefore does not depend on batch size or on the number of workers.
"""

import hashlib

import numpy as np


def derive(root: int, purpose: str, *index: int | str) -> int:
    """Return the seed of one draw: the first 63 bits of SHA-256, which both numpy and torch accept."""
    text = "\x1f".join([str(int(root)), purpose, *(f"{type(part).__name__}:{part}" for part in index)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, purpose: str, *index: int | str) -> np.random.Generator:
    """Return a numpy generator for one draw (PCG64 seeded by `derive`)."""
    return np.random.Generator(np.random.PCG64(derive(root, purpose, *index)))
