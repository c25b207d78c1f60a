import numpy as np
from PIL import Image

from synthplanes.data.sources import african_planes
from synthplanes.data.preparation import duplicates, scanning


def smooth(seed):
    """A frame of low frequencies, as tissue has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((200, 160), Image.Resampling.BICUBIC))


def near(frames, **limits):
    small = np.stack([duplicates.thumbnail(frame) for frame in frames])
    hashes = np.array([duplicates.perceptual_hash(one) for one in small])
    return duplicates.near_pairs(hashes, small, **limits).tolist()


def test_the_digest_is_of_pixels_and_shape():
    grey = smooth(0)
    assert duplicates.pixel_digest(grey) == duplicates.pixel_digest(np.asfortranarray(grey))
    assert duplicates.pixel_digest(grey) != duplicates.pixel_digest(grey.reshape(grey.shape[::-1]))
    changed = grey.copy()
    changed[0, 0] ^= 1
    assert duplicates.pixel_digest(grey) != duplicates.pixel_digest(changed)


def test_exact_pairs_are_all_pairs_of_a_group():
    digests = np.array(["a", "b", "", "a", "c", "b", "a", ""])
    assert duplicates.exact_pairs(digests).tolist() == [[0, 3], [0, 6], [1, 5], [3, 6]]
    assert duplicates.exact_pairs(np.array(["a", "b"])).shape == (0, 2)


def test_another_size_contrast_or_compression_is_found_and_other_frames_are_not():
    frame = smooth(1)
    resized = np.array(Image.fromarray(frame).resize((150, 130), Image.Resampling.BILINEAR))
    dimmed = (frame * 0.7 + 10).astype(np.uint8)
    noisy = np.clip(frame + np.random.default_rng(0).normal(0, 12, frame.shape), 0, 255).astype(np.uint8)
    frames = [frame, resized, dimmed, noisy, smooth(2), smooth(3)]
    assert near(frames) == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_hash_alone_is_no_evidence():
    """Two dark sectors with unlike content: the hash is near, the correlation is not enough."""
    one = np.zeros((160, 200), np.uint8)
    one[:40] = 200
    other = one.copy()
    other[60:90, 60:140] = 160
    assert near([one, other], distance=64, correlation=0.5) == [[0, 1]]
    assert near([one, other], distance=64) == []


def test_blocks_of_rows_find_what_brute_force_finds():
    hashes = np.random.default_rng(0).integers(0, 2**63, 700, dtype=np.uint64)
    hashes[600] = hashes[3] ^ np.uint64(0b111)
    hashes[601] = hashes[600] ^ np.uint64(1 << 40)
    same = np.tile(np.arange(1024, dtype=np.uint32).astype(np.uint8).reshape(1, 32, 32), (700, 1, 1))
    found = {tuple(pair) for pair in duplicates.near_pairs(hashes, same, distance=4).tolist()}
    expected = {(one, other) for one in range(700) for other in range(one + 1, 700)
                if bin(int(hashes[one] ^ hashes[other])).count("1") <= 4}
    assert found == expected and {(3, 600), (3, 601), (600, 601)} <= found


def test_the_stated_rule_on_the_african_images(african_folder):
    """The evidence for the two limits: nine pairs of one scan found, the most alike pair of two scans not."""
    source = african_planes.open_african_planes(african_folder)
    scan = scanning.scan(source)
    pairs = duplicates.near_pairs(scan.hashes, scan.thumbnails)
    name = source.table["image_id"]
    found = {tuple(sorted(name[pair].tolist())) for pair in pairs
             if scan.digests[pair[0]] != scan.digests[pair[1]]}
    assert len(found) == 9
    assert ("patient002_EGY_plane1", "patient023_EGY_plane1") in found
    assert ("patient037_UGA_plane2", "patient063_UGA_plane2") not in found
    loose = duplicates.near_pairs(scan.hashes, scan.thumbnails, correlation=0.93)
    found = {tuple(sorted(name[pair].tolist())) for pair in loose}
    assert ("patient037_UGA_plane2", "patient063_UGA_plane2") in found
