import numpy as np
import pytest
from PIL import Image

from synthplanes.data import images
from synthplanes.errors import UserError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_grey_survives_every_8_bit_mode():
    grey = Image.fromarray(RAMP)
    for mode in ("L", "RGB", "RGBA", "LA", "P"):
        np.testing.assert_array_equal(images.to_grey(grey.convert(mode)), RAMP, err_msg=mode)


def test_alpha_is_composited_on_black():
    pixels = np.full((2, 2, 4), 200, dtype=np.uint8)
    pixels[..., 3] = [[0, 255], [128, 255]]
    grey = images.to_grey(Image.fromarray(pixels, "RGBA"))
    assert grey.tolist() == [[0, 200], [pytest.approx(100, abs=1), 200]]


def test_a_transparent_palette_colour_is_black():
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 90, 90, 90])
    image.info["transparency"] = 0
    assert images.to_grey(image).tolist() == [[0, 90]]


def test_16_bit_grey_is_scaled_by_the_bits_that_are_used(tmp_path):
    values = np.array([[0, 257, 128 * 257], [65535, 128, 129]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    read = images.read_grey(tmp_path / "deep.png")
    assert read.dtype == np.uint16 and np.array_equal(read, values)
    assert np.array_equal(images.to_grey(Image.fromarray(values.astype(np.int32))), values)
    assert images.to_8_bit(values, 16).tolist() == [[0, 1, 128], [255, 0, 1]]
    assert images.to_8_bit(np.uint16([0, 1, 2048, 4095]), 12).tolist() == [0, 0, 128, 255]
    assert images.to_8_bit(np.arange(256, dtype=np.uint16), 8).tolist() == list(range(256))


def test_values_of_unknown_range_are_refused():
    with pytest.raises(UserError, match="outside 0..65535"):
        images.to_grey(Image.fromarray(np.array([[70000]], dtype=np.int32)))
    with pytest.raises(UserError, match="floating-point"):
        images.to_grey(Image.fromarray(np.zeros((2, 2), np.float32)))


def test_bad_files_are_named(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(good)
    cut, text, chunk = tmp_path / "cut.png", tmp_path / "text.png", tmp_path / "chunk.png"
    cut.write_bytes(good.read_bytes()[:900])
    text.write_text("not an image")
    damaged = bytearray(good.read_bytes())
    damaged[45] ^= 255
    chunk.write_bytes(damaged)
    for path in (cut, text, chunk):
        with pytest.raises(UserError, match=path.name):
            images.read_grey(path)
    with pytest.raises(UserError, match="does not exist"):
        images.read_grey(tmp_path / "absent.png")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match="bomb.png.*9,000 x 9,000"):
        images.read_grey(tmp_path / "bomb.png")


def test_padding_centres_on_black():
    padded = images.frame(np.full((2, 5), 9, np.uint8), 5)
    assert padded.shape == (5, 5)
    assert padded[1:3].min() == 9 and padded[0].max() == 0 and padded[3:].max() == 0


def test_reduction_is_anti_aliased():
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    reduced = images.frame(stripes, 16)
    assert reduced.shape == (16, 16)
    # One-pixel stripes become their mean; picking single pixels would give 0 or 255.
    assert abs(reduced[2:-2, 2:-2].astype(int) - 128).max() <= 3


def test_a_text_mask_is_black_and_leaves_the_rest():
    grey = np.full((10, 20), 50, np.uint8)
    masked = images.frame(grey, 20, [(0.5, 0.0, 1.0, 0.25)])[5:15]
    assert masked[:3, 10:].max() == 0
    assert masked.sum() == 50 * (200 - 30) and grey.min() == 50


def test_frame_masks_before_it_pads():
    frame = images.frame(np.full((10, 20), 255, np.uint8), 20, [(0, 0, 1, 0.5)])
    assert frame[5:10].max() == 0 and frame[10:15].min() == 255


def test_mean_and_deviation_are_those_of_all_pixels():
    frames = np.random.default_rng(0).integers(0, 256, (5, 7, 7)).astype(np.uint8)
    pixels = images.to_float(frames).astype(np.float64)
    assert images.mean_and_deviation(frames) == (pytest.approx(pixels.mean()), pytest.approx(pixels.std()))
    assert images.mean_and_deviation(frames[:1] * 0 + 255) == (1, 0)


def test_floats_and_bytes_are_inverse():
    levels = np.arange(256, dtype=np.uint8)
    floats = images.to_float(levels)
    assert floats.dtype == np.float32 and floats[0] == -1 and floats[255] == 1
    np.testing.assert_array_equal(images.to_bytes(floats), levels)
    np.testing.assert_array_equal(images.to_bytes(np.float32([-3, 3, 0.001])), [0, 255, 128])
    with pytest.raises(ValueError, match="NaN"):
        images.to_bytes(np.float32([np.nan]))
    with pytest.raises(ValueError, match="bytes"):
        images.to_float(np.zeros(2))
