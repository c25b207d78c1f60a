"""Every file is what a viewer shows of it, by values that are known by construction, or is refused with its name."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthplanes.data.formats import other_format
from synthplanes.data.images import read_grey
from synthplanes.errors import UserError

DRAWS = np.random.default_rng(3)
GREY = DRAWS.integers(0, 256, (20, 30), dtype=np.uint8)
DEEP = DRAWS.integers(0, 4096, (20, 30)).astype(np.uint16)
ALPHA = DRAWS.integers(0, 256, (20, 30), dtype=np.uint8)
ON_BLACK = np.rint(GREY.astype(float) * ALPHA / 255)
# What a viewer shows of stored pixels under an EXIF orientation (JEITA CP-3451, table 6).
TURNED = {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1], 5: lambda x: x.T,
          6: lambda x: np.rot90(x, 3), 7: lambda x: x[::-1, ::-1].T, 8: lambda x: np.rot90(x)}


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(mode="L"):
    return Image.fromarray(GREY).convert(mode)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values, depth, colour, extra=b""):
    """A PNG of values [H, W] or [H, W, C], 1 to 16 bits each."""
    lines = values.reshape(len(values), -1)
    bits = (lines[:, :, None] >> np.arange(depth)[::-1] & 1).reshape(len(values), -1).astype(np.uint8)
    body = b"".join(b"\0" + line.tobytes() for line in np.packbits(bits, axis=1))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(body))
            + chunk(b"IEND", b""))


def tiff(values, photometric, sample_format=1, order="<"):
    content, bits = values.tobytes(), values.dtype.itemsize * 8
    tags = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: values.shape[0], 279: len(content), 339: sample_format}
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(content)) + content
            + struct.pack(order + "H", len(tags)) + entries + bytes(4))


def oriented(values, kind, orientation, **options):
    exif = Image.Exif()
    exif[274] = orientation
    return saved(Image.fromarray(values).convert("RGB") if kind == "WEBP" else Image.fromarray(values), kind, exif=exif,
                 **options)


def key(*values):
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


COLOUR = np.repeat(GREY[..., None], 3, axis=2)
PALETTE = chunk(b"PLTE", np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
READ = {
    "png": (saved(grey(), "PNG"), GREY), "bmp": (saved(grey(), "BMP"), GREY), "gif": (saved(grey(), "GIF"), GREY),
    "tiff": (saved(grey(), "TIFF"), GREY), "pgm": (saved(grey(), "PPM"), GREY),
    "webp": (saved(grey("RGB"), "WEBP", lossless=True), GREY), "rgb bmp": (saved(grey("RGB"), "BMP"), GREY),
    "lzw": (saved(grey(), "TIFF", compression="tiff_lzw"), GREY),
    "deep lzw": (saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"), DEEP),
    "cmyk": (saved(grey("CMYK"), "TIFF"), GREY), "ycbcr": (saved(grey("YCbCr"), "TIFF"), GREY),
    "palette": (png(GREY, 8, 3, PALETTE), 255 - GREY),
    "transparent palette": (png(GREY, 8, 3, PALETTE + chunk(b"tRNS", b"\0")), np.where(GREY == 0, 0, 255 - GREY)),
    "1 bit": (png(GREY >> 7, 1, 0), (GREY >> 7) * 255), "4 bits": (png(GREY >> 4, 4, 0), (GREY >> 4) * 17),
    "transparent 1 bit": (png(GREY >> 7, 1, 0, key(1)), np.zeros_like(GREY)),
    "16 bits": (png(DEEP, 16, 0), DEEP),
    "transparent grey": (png(GREY, 8, 0, key(GREY[0, 0])), np.where(GREY[0, 0] == GREY, 0, GREY)),
    "transparent colour": (png(COLOUR, 8, 2, key(*COLOUR[0, 0])), np.where(GREY[0, 0] == GREY, 0, GREY)),
    "transparent 16 bits": (png(DEEP, 16, 0, key(DEEP[0, 0])), np.where(DEEP[0, 0] == DEEP, 0, DEEP)),
    "grey and alpha": (png(np.dstack([GREY, ALPHA]), 8, 4), ON_BLACK),
    "colour and alpha": (png(np.dstack([COLOUR, ALPHA]), 8, 6), ON_BLACK),
    "webp with alpha": (saved(Image.fromarray(np.dstack([COLOUR, ALPHA])), "WEBP", lossless=True, exact=True),
                        ON_BLACK),
    "0 is white": (tiff(GREY, 0), 255 - GREY), "0 is black": (tiff(GREY, 1), GREY),
    "16-bit 0 is white": (tiff(DEEP, 0), 65535 - DEEP), "16-bit 0 is black": (tiff(DEEP, 1), DEEP),
    "16-bit 0 is white, lzw": (saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw", tiffinfo={262: 0}),
                               65535 - DEEP),
    "signed": (tiff(DEEP.astype(np.int16), 1, 2), DEEP), "32 bits": (tiff(DEEP.astype(np.uint32), 1), DEEP),
    "big-endian": (tiff(DEEP.astype(">u2"), 1, order=">"), DEEP),
    "pbm": (b"P4 16 20\n" + np.packbits(GREY[:, :16] > 99, axis=1).tobytes(), np.where(GREY[:, :16] > 99, 0, 255)),
    **{f"{kind}, orientation {number}": (oriented(GREY, kind, number, **options), turned(GREY))
       for number, turned in TURNED.items()
       for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", dict(lossless=True)))},
    **{f"16-bit {kind}, orientation {number}": (oriented(DEEP, kind, number), turned(DEEP))
       for number, turned in TURNED.items() for kind in ("PNG", "TIFF")},
}
TWO = dict(save_all=True, append_images=[Image.fromarray(255 - GREY)])
REFUSED = {
    "several pages": (saved(grey(), "TIFF", **TWO), "TIFF file holds several pages or frames"),
    "gif film": (saved(grey(), "GIF", **TWO), "GIF file holds several pages or frames"),
    "apng film": (saved(grey(), "PNG", **TWO), "PNG file holds several pages or frames"),
    "webp film": (saved(grey("RGB"), "WEBP", **TWO), "WEBP file holds several pages or frames"),
    "16-bit colour": (png(np.repeat(DEEP[..., None], 3, axis=2), 16, 2), "16-bit colour"),
    "16-bit grey and alpha": (png(np.repeat(DEEP[..., None], 2, axis=2), 16, 4), "16-bit grey with transparency"),
    "16-bit ppm": (b"P6 10 20 65535\n" + DEEP.tobytes(), "16-bit colour"),
    "transparent 4 bits": (png(GREY >> 4, 4, 0, key(3)), "less than 8 bits with a transparent value"),
    "below 0": (tiff(DEEP.astype(np.int16) - 4000, 1, 2), "grey values run from -"),
    "beyond 16 bits": (tiff(DEEP.astype(np.uint32) + 70000, 1), "outside 0..65535"),
    "floats": (tiff(DEEP.astype(np.float32), 1, 3), "floating-point"), "float map": (
        b"Pf 30 20 -1.0\n" + DEEP.astype("<f4").tobytes(), "floating-point"),
    "64-bit floats": (tiff(DEEP.astype(np.float64), 1, 3), "TIFF that is damaged or of a rare kind.*convert it to PNG"),
    "lab": (saved(Image.new("LAB", (8, 8)), "TIFF"), "CIELAB"),
    "nothing": (b"", "has no byte: fetch it again"), "text": (b"no image", "an unknown format.: convert it to PNG"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
    "page": (b"\r\n<!DOCTYPE html><html></html>", "a web page"), "zip": (b"PK\3\4" + bytes(40), "a zip: unpack it"),
    "gz": (b"\x1f\x8b\x08" + bytes(40), "a gzip: unpack it"),
    **{f"{what} {number}": (content, f"{what}, which is not read: convert it to PNG") for number, (what, content) in
       enumerate([("DICOM file", bytes(128) + b"DICM" + bytes(9)), ("DICOM file", b"\x08\0\x05\0\x0a\0\0\0ISO"),
                  ("NIfTI file", b"\x5c\1\0\0" + bytes(340) + b"n+1\0"), ("NRRD file", b"NRRD0004\n"),
                  ("MetaImage header", b"ObjectType = Image\n"), ("JPEG 2000 file", saved(grey(), "JPEG2000")),
                  ("JPEG 2000 file", b"\xff\x4f\xff\x51" + bytes(30)), ("AVIF file", b"\0\0\0 ftypavif" + bytes(30)),
                  ("HEIC file", b"\0\0\0 ftypheic" + bytes(30)), ("JPEG XL file", b"\xff\x0a" + bytes(30)),
                  ("film", b"\0\0\0 ftypisom" + bytes(30)), ("film", b"RIFF1234AVI LIST"), ("PDF file", b"%PDF-1.7"),
                  ("SVG drawing", b"<?xml version='1.0'?>\n<svg/>"), ("SVG drawing", b"<svg xmlns=''/>"),
                  ("Photoshop file", b"8BPS\0\1"), ("NumPy array", b"\x93NUMPY\1\0"), ("HDF5 file", b"\x89HDF\r\n"),
                  ("FITS file", b"SIMPLE  =    T"), ("PostScript file", b"%!PS-Adobe"),
                  ("icon", saved(grey(), "ICO"))])},
}


@pytest.mark.parametrize("name", READ)
def test_a_file_is_what_a_viewer_shows(tmp_path, name):
    content, expected = READ[name]
    (tmp_path / "x.bin").write_bytes(content)
    read = read_grey(tmp_path / "x.bin")
    assert read.dtype == (np.uint16 if expected.max() > 255 else np.uint8) or name in ("signed", "32 bits")
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_shown_is_named(tmp_path, name):
    content, sentence = REFUSED[name]
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError, match=f"x.png.*{sentence}") as caught:
        read_grey(tmp_path / "x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", TURNED)
def test_a_photograph_is_turned(tmp_path, orientation):
    (tmp_path / "x.jpg").write_bytes(oriented(np.repeat(GREY[::4, ::5] // 2 + 64, 8, 1), "JPEG", orientation))
    with Image.open(tmp_path / "x.jpg") as image:
        stored = np.array(image)
    np.testing.assert_array_equal(read_grey(tmp_path / "x.jpg"), TURNED[orientation](stored))


def test_previews_in_a_photograph_are_no_frames(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[Image.new("L", (9, 9))])
    assert read_grey(tmp_path / "x.jpg").shape == GREY.shape


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_grey_of_every_depth_keeps_its_values(tmp_path_factory, depth, height, width, seed):
    path = tmp_path_factory.mktemp("png") / "x.png"
    values = np.random.default_rng(seed).integers(0, 2**depth, (height, width))
    path.write_bytes(png(values, depth, 0))
    np.testing.assert_array_equal(read_grey(path), values if depth == 16 else values * 255 // (2**depth - 1))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_have_a_name_or_none(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(content)
    assert "\n" not in other_format(path)
