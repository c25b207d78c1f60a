"""Copies that somebody turned, mirrored, cropped or framed are found; pictures of other patients are not."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from synthplanes.data.preparation import scanning
from synthplanes.data.preparation.duplicates import near_groups
from synthplanes.data.sources.published import open_published

_DECODED: dict = {}  # folder: its frames


def resized(grey, share):
    return np.array(Image.fromarray(grey).resize((int(grey.shape[1] * share), int(grey.shape[0] * share))))


def compressed(grey):
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=60)
    return np.array(Image.open(buffer))


def cropped(grey, left, top, right, bottom):
    height, width = grey.shape
    return grey[int(top * height):height - int(bottom * height), int(left * width):width - int(right * width)]


def framed(grey, value, share=0.06):
    return np.pad(grey, int(share * max(grey.shape)), constant_values=value)


# alteration: the share of real images (of those below) whose copy is found, at least
ALTERATIONS = {
    "mirrored": (lambda grey: grey[:, ::-1], 1), "upside down": (lambda grey: grey[::-1], 1),
    "turned by 90": (lambda grey: np.rot90(grey), 1), "turned by 180": (lambda grey: np.rot90(grey, 2), 1),
    "turned by 270": (lambda grey: np.rot90(grey, 3), 1),
    "mirrored, half as large, compressed": (lambda grey: compressed(resized(grey[:, ::-1], 0.5)), 1),
    "3 % off each side": (lambda grey: cropped(grey, 0.03, 0.03, 0.03, 0.03), 0.97),
    "3 % off the left": (lambda grey: cropped(grey, 0.03, 0, 0, 0), 0.97),
    "3 % off the top": (lambda grey: cropped(grey, 0, 0.03, 0, 0), 0.97),
    "3 % off two sides": (lambda grey: cropped(grey, 0.03, 0, 0, 0.03), 0.97),
    "mirrored, 3 % off": (lambda grey: cropped(grey, 0.03, 0.03, 0.03, 0.03)[:, ::-1], 0.97),
    "black border": (lambda grey: framed(grey, 0), 0.97),
    "wide black border": (lambda grey: framed(grey, 0, 0.2), 0.95),
    "padded to a square": (lambda grey: np.pad(grey, ((0, max(0, grey.shape[1] - grey.shape[0])), (0, 0))), 0.97),
    "grey border": (lambda grey: framed(grey, 120), 0.9), "white border": (lambda grey: framed(grey, 255), 0.9),
    "turned, black border": (lambda grey: np.rot90(framed(grey, 0)), 0.97),
}


def groups(frames):
    frames = [np.ascontiguousarray(frame) for frame in frames]
    return near_groups(np.array([scanning.pixel_sha256(frame) for frame in frames]),
                       np.stack([scanning.thumbnail(frame) for frame in frames]),
                       np.stack([scanning.thumbnail(scanning.trim(frame)) for frame in frames]), 8)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_copies_of_drawn_pictures_are_found(name):
    def picture(seed):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 10), dtype=np.uint8)
        return np.array(Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC))
    alter, _ = ALTERATIONS[name]
    found = groups([picture(seed) for seed in range(12)] + [alter(picture(seed)) for seed in range(12)])
    assert found.tolist() == [*range(12)] * 2


def test_a_border_is_trimmed_and_a_picture_is_not():
    tissue = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    for value in (0, 90, 255):
        assert np.array_equal(scanning.trim(np.pad(tissue, (5, 9), constant_values=value)), tissue)
    assert np.array_equal(scanning.trim(tissue), tissue)
    for flat in (np.full((1, 1), 7, np.uint8), np.full((3, 200), 7, np.uint8)):
        assert np.array_equal(scanning.trim(flat), flat)


@pytest.fixture
def african(african_folder):
    """Every frame of the African planes, decoded once."""
    if african_folder not in _DECODED:
        source = open_published("african_planes", african_folder)
        _DECODED[african_folder] = [source.decode(row) for row in range(len(source.table))]
    return _DECODED[african_folder]


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_copies_of_real_images_are_found(african, name):
    alter, least = ALTERATIONS[name]
    frames = african[::11]
    found = groups(frames + [alter(frame) for frame in frames])
    half = len(frames)
    assert np.mean(found[:half] == found[half:]) >= least


def test_altered_views_make_no_false_pair_of_real_images(african_folder, african):
    """Of 100,000 pairs of different patients those nine are near, of whom upright thumbnails say so: none is false."""
    found = groups(african)
    source = open_published("african_planes", african_folder)
    digests = [scanning.pixel_sha256(frame) for frame in african]
    pairs = {(digests[i], digests[j]) for row in np.unique(found)
             for i, j in combinations(np.flatnonzero(found == row), 2) if digests[i] != digests[j]}
    assert len(source.table) == 450 and len({tuple(sorted(pair)) for pair in pairs}) == 9
