import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthplanes.data.preparation import scanning
from synthplanes.data.preparation.duplicates import exact_groups, near_groups, perceptual_hashes
from synthplanes.data.sources.published import open_published


def smooth(seed):
    """A frame of low frequencies, as tissue has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((200, 160), Image.Resampling.BICUBIC))


def near(frames, distance=8):
    small = np.stack([scanning.thumbnail(frame) for frame in frames])
    trimmed = np.stack([scanning.thumbnail(scanning.trim(frame)) for frame in frames])
    return near_groups(np.array([scanning.pixel_sha256(frame) for frame in frames]), small, trimmed, distance).tolist()


def test_the_hash_is_of_pixels_and_shape():
    grey = smooth(0)
    assert scanning.pixel_sha256(grey) == scanning.pixel_sha256(np.asfortranarray(grey))
    assert scanning.pixel_sha256(grey) != scanning.pixel_sha256(grey.reshape(grey.shape[::-1]))
    changed = grey.copy()
    changed[0, 0] ^= 1
    assert scanning.pixel_sha256(grey) != scanning.pixel_sha256(changed)


def test_a_group_is_named_by_its_first_row_and_no_image_is_a_duplicate_of_none():
    assert exact_groups(np.array(["a", "b", "", "a", "c", "b", "a", ""])).tolist() == [0, 1, 2, 0, 4, 1, 0, 7]
    frames = [smooth(1), smooth(2), smooth(1)[::-1].copy(), smooth(2)]
    assert near(frames) == [0, 1, 0, 1]
    nothing = np.zeros((0, 32, 32), np.uint8)
    assert near_groups(np.zeros(0, "U1"), nothing, nothing, 8).tolist() == []
    black = np.zeros((2, 32, 32), np.uint8)
    assert near_groups(np.array(["", ""]), black, black, 8).tolist() == [0, 1]


def test_another_size_contrast_or_compression_is_found_and_other_frames_are_not():
    frame = smooth(1)
    resized = np.array(Image.fromarray(frame).resize((150, 130), Image.Resampling.BILINEAR))
    dimmed = (frame * 0.7 + 10).astype(np.uint8)
    noisy = np.clip(frame + np.random.default_rng(0).normal(0, 12, frame.shape), 0, 255).astype(np.uint8)
    assert near([frame, resized, dimmed, noisy, smooth(2), smooth(3)]) == [0, 0, 0, 0, 4, 5]


def test_hash_alone_is_no_evidence():
    """Two dark sectors with unlike content: no distance is too large, and the correlation is not enough."""
    first = np.zeros((160, 200), np.uint8)
    first[:40] = 200
    second = first.copy()
    second[60:90, 60:140] = 160
    assert near([first, second], distance=64) == [0, 1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_groups_are_those_of_all_pairs(seed, distance):
    """Noise makes pairs at every distance; brute force over upright images finds no link that the blocks miss."""
    rng = np.random.default_rng(seed)
    small = np.clip(rng.integers(0, 256, (3, 1, 32, 32)) + rng.normal(0, 25, (3, 13, 32, 32)), 0, 255)
    small = small.astype(np.uint8).reshape(39, 32, 32)
    hashes, unit = perceptual_hashes(small), small.reshape(39, -1).astype(float)
    correlation = np.corrcoef(unit)
    found = near_groups(np.arange(39).astype(str), small, small, distance)
    linked = (np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance) & (correlation >= 0.951)
    assert (found[:, None] == found[None])[linked].all()
    assert all(found[i] // 13 == i // 13 for i in range(39))  # three pictures, never one group


def test_a_thousand_alike_frames_are_compared_a_thousand_times(monkeypatch):
    """Pairs grow with the square of the images, comparisons do not: once joined, a pair is not looked at."""
    rng = np.random.default_rng(0)
    base = np.stack([scanning.thumbnail(smooth(seed)) for seed in range(40)]).astype(int)
    alike = base[0] + rng.integers(-6, 7, (1000, 32, 32))
    small = np.clip(np.concatenate([base, alike]), 0, 255).astype(np.uint8)
    compared = []
    module = "synthplanes.data.preparation.duplicates._correlations"
    monkeypatch.setattr(module, lambda first, second: compared.append(len(first)) or np.ones(len(first)))
    found = near_groups(np.arange(len(small)).astype(str), small, small, 4)
    assert len(np.unique(found[40:])) == 1 and sum(compared) < 30 * len(small)


def test_the_stated_rule_on_the_african_images(african_folder):
    """The evidence for the limits: nine pairs of one scan are found, the most alike pair of two scans is not."""
    source = open_published("african_planes", african_folder)
    scan = scanning.scan(source)
    name = source.table["image_id"].to_numpy()
    first = np.unique(exact_groups(scan.sha256))
    found = near_groups(scan.sha256, scan.thumbnails, scan.trimmed, 8)
    groups = {tuple(sorted(name[first[found[first] == row]])) for row in np.unique(found)}
    assert sorted(map(len, groups)) == [1] * (len(groups) - 9) + [2] * 9
    assert ("patient002_EGY_plane1", "patient023_EGY_plane1") in groups
    assert ("patient037_UGA_plane2", "patient063_UGA_plane2") not in groups  # two femurs
