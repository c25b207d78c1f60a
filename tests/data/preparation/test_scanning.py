"""What is looked at in every image: the range that 16-bit files use, the number of grey levels, masks."""

import io

import numpy as np
import pytest
from PIL import Image

from synthplanes.data.preparation.guards import apply_guards
from synthplanes.data.preparation.preparing import inspect
from synthplanes.data.preparation.scanning import depth, pixel_sha256, scan

ROWS = [(f"p{number}", "ab"[number % 2], "train" if number < 6 else "test") for number in range(10)]


@pytest.fixture
def deep_source(make_source):
    """A source of 16-bit images whose largest value is `top` in the first image and a little less in the others."""
    def make(top, offset=0):
        source, draws = make_source(ROWS), np.random.default_rng(0)
        for row in range(len(ROWS)):
            source.frames[row] = (offset + draws.integers(0, top - offset + 1 - 3 * row, (24, 32))).astype(np.uint16)
        source.frames[0][0, 0] = top
        return source
    return make


@pytest.mark.parametrize("top", [200, 255, 300, 1023, 4000, 4095, 9000, 65535])
def test_a_set_is_scaled_as_a_whole(deep_source, top):
    source = deep_source(top)
    found = scan(source)
    bits = max(8, int(np.ceil(np.log2(top + 1))))
    assert depth(found.deep) == bits and not found.unreadable and found.usable.all()
    for row, native in enumerate(source.frames):
        assert found.sha256[row] == pixel_sha256(np.rint(native / (2**bits - 1) * 255).astype(np.uint8))
    assert found.levels.min() > 60


def test_a_file_of_16_bits_that_holds_8_is_that_image(make_source, deep_source):
    narrow, deep = make_source(ROWS), deep_source(255)
    narrow.frames = [frame.astype(np.uint8) for frame in deep.frames]
    assert np.array_equal(scan(narrow).sha256, scan(deep).sha256)


def test_the_scale_is_said(deep_source, make_guards):
    text = "\n".join(inspect(deep_source(4000), make_guards())[0])
    assert ("note: 10 images hold 16-bit grey, 4,000 at most in all of them (i0.png): 0 to 4,095 is scaled to 0 to "
            "255.") in text


def test_one_scale_that_leaves_an_image_few_levels_stops(deep_source, make_guards):
    source = deep_source(255)
    source.frames[3][0, 0] = 65535  # its others would be 0 and 1
    lines, stops = inspect(source, make_guards())
    assert stops and any("keeps " in line and "a small part of the set's 0 to 65,535: save all images" in line
                         for line in lines)
    shifted = deep_source(36000, offset=32768)  # a 12-bit scale that begins in the middle
    assert all("keeps 14 of its" in why or "keeps 13 of its" in why for why in scan(shifted).unreadable.values())
    assert len(scan(shifted).unreadable) == 10


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (17, 200), (254, 255)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_mask_is_no_image(make_source, values, kind):
    rows, columns = np.indices((200, 260))
    mask = np.where((rows - 90)**2 + (columns - 120)**2 < 2500, *values[::-1]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    source = make_source(ROWS)
    source.frames[2] = np.array(Image.open(buffer))
    why = scan(source).unreadable[2]
    assert "i2.png is black and white, as a mask is: remove its row" in why or "is empty" in why


def test_few_levels_are_a_note_and_low_contrast_is_an_image(make_source, make_guards):
    source = make_source(ROWS)
    source.frames[1] = source.frames[1] // 32
    source.frames[2] = source.frames[2] // 10 + 4
    text, stops = inspect(source, make_guards())
    assert not stops and any("1 image have fewer than 16 grey levels, first i1.png with 8" in line for line in text)


def test_a_mask_can_be_left_out(make_source, make_guards):
    source = make_source(ROWS)
    source.frames[2] = np.where(source.frames[2] > 99, 255, 0).astype(np.uint8)
    found = scan(source)
    near = np.arange(len(ROWS))
    assert [finding.stops for finding in apply_guards(source, found, near, make_guards()).findings] == [True]
    lenient = apply_guards(source, found, near, make_guards(missing="use_what_is_there"))
    assert not any(finding.stops for finding in lenient.findings) and not lenient.keep[2]
