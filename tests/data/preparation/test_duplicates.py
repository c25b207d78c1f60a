import numpy as np
from PIL import Image

from synthplanes.data.preparation import scanning
from synthplanes.data.sources.published import open_published


def smooth(seed):
    """A frame of low frequencies, as tissue has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((200, 160), Image.Resampling.BICUBIC))


def near(frames, distance=8, **limits):
    small = np.stack([scanning.thumbnail(frame) for frame in frames])
    hashes = np.array([scanning.perceptual_hash(image) for image in small])
    return scanning.near_pairs(hashes, small, distance, **limits).tolist()


def test_the_hash_is_of_pixels_and_shape():
    grey = smooth(0)
    assert scanning.pixel_sha256(grey) == scanning.pixel_sha256(np.asfortranarray(grey))
    assert scanning.pixel_sha256(grey) != scanning.pixel_sha256(grey.reshape(grey.shape[::-1]))
    changed = grey.copy()
    changed[0, 0] ^= 1
    assert scanning.pixel_sha256(grey) != scanning.pixel_sha256(changed)


def test_exact_pairs_are_all_pairs_of_a_group():
    sha256 = np.array(["a", "b", "", "a", "c", "b", "a", ""])
    assert scanning.exact_pairs(sha256).tolist() == [[0, 3], [0, 6], [1, 5], [3, 6]]
    assert scanning.exact_pairs(np.array(["a", "b"])).shape == (0, 2)


def test_another_size_contrast_or_compression_is_found_and_other_frames_are_not():
    frame = smooth(1)
    resized = np.array(Image.fromarray(frame).resize((150, 130), Image.Resampling.BILINEAR))
    dimmed = (frame * 0.7 + 10).astype(np.uint8)
    noisy = np.clip(frame + np.random.default_rng(0).normal(0, 12, frame.shape), 0, 255).astype(np.uint8)
    frames = [frame, resized, dimmed, noisy, smooth(2), smooth(3)]
    assert near(frames) == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_hash_alone_is_no_evidence():
    """Two dark sectors with unlike content: the hash is near, the correlation is not enough."""
    first = np.zeros((160, 200), np.uint8)
    first[:40] = 200
    second = first.copy()
    second[60:90, 60:140] = 160
    assert near([first, second], distance=64, correlation=0.5) == [[0, 1]]
    assert near([first, second], distance=64) == []


def test_blocks_of_rows_find_what_brute_force_finds():
    hashes = np.random.default_rng(0).integers(0, 2**63, 700, dtype=np.uint64)
    hashes[600] = hashes[3] ^ np.uint64(0b111)
    hashes[601] = hashes[600] ^ np.uint64(1 << 40)
    same = np.tile(np.arange(1024, dtype=np.uint32).astype(np.uint8).reshape(1, 32, 32), (700, 1, 1))
    pairs = {tuple(pair) for pair in scanning.near_pairs(hashes, same, distance=4).tolist()}
    expected = {(i, j) for i in range(700) for j in range(i + 1, 700)
                if bin(int(hashes[i] ^ hashes[j])).count("1") <= 4}
    assert pairs == expected and {(3, 600), (3, 601), (600, 601)} <= pairs


def test_the_stated_rule_on_the_african_images(african_folder):
    """The evidence for the two limits: nine pairs of one scan found, the most alike pair of two scans not."""
    source = open_published("african_planes", african_folder)
    scan = scanning.scan(source)
    name = source.table["image_id"].to_numpy()

    def named(pairs):
        return {tuple(sorted(name[pair])) for pair in pairs if scan.sha256[pair[0]] != scan.sha256[pair[1]]}

    stated = named(scanning.near_pairs(scan.hashes, scan.thumbnails, 8))
    loose = named(scanning.near_pairs(scan.hashes, scan.thumbnails, 8, correlation=0.93))
    most_alike_of_two_scans = ("patient037_UGA_plane2", "patient063_UGA_plane2")
    assert len(stated) == 9 and ("patient002_EGY_plane1", "patient023_EGY_plane1") in stated
    assert most_alike_of_two_scans in loose - stated
