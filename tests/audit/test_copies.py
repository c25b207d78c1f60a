"""Count copies on sets whose answers are known; planted copies are found."""

import numpy as np

from synthplanes.audit.auditing import block_shares, count_copies, nearest, thumbnails


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (n, 32, 32)).astype(np.uint8)


def test_every_pixel_falls_into_blocks():
    for size in (16, 24, 50):
        shares = block_shares(size)
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-6) and np.allclose(shares.sum(axis=0), 16 / size, atol=1e-6)


def test_brightness_and_contrast_do_not_hide_a_copy():
    train = images(20, 0)
    darker = (train[3:4] // 2 + 20).astype(np.uint8)
    distance, position = nearest(thumbnails(darker), thumbnails(train))
    assert position.tolist() == [3] and distance[0] < 0.05


def test_planted_copies_are_counted(tmp_path):
    train, synthetic = images(50, 0), images(40, 1)
    synthetic[:4] = train[7:11]
    counts = count_copies(synthetic, train, images(60, 2), tmp_path / "copies.png")
    assert counts["nearer_than_threshold"] in (4, 5) and counts["images"] == 40
    assert counts["share_nearer_than_threshold"] == counts["nearer_than_threshold"] / 40
    assert (tmp_path / "copies.png").exists()
    clean = count_copies(images(40, 3), train, images(60, 2), tmp_path / "clean.png")
    assert clean["nearer_than_threshold"] <= 2
