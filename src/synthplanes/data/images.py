"""Convert images: from a file to the square grey bytes of a pack, and to the floats of a network.

`to_float` and `to_bytes` are the only conversion between bytes and floats in this project.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, ImageSequence, TiffImagePlugin, UnidentifiedImageError

from synthplanes.data.formats import other_format
from synthplanes.errors import UserError

# Of the square around a frame: 8,000 px a side (64 MB), five times the largest frame of FETAL_PLANES_DB (1495 x 787).
PIXEL_LIMIT = 64_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")  # as Pillow names them; PGM and PBM are its PPM
DEEPEST = 65535  # the largest value of 16-bit grey
_GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_NO_SCALE = {"F": "floating-point grey values have no known range: save the image as 8- or 16-bit grey.",
             "LAB": "CIELAB colours are not read: save the image as 8-bit grey or RGB."}


def read_grey(path: Path) -> np.ndarray:
    """Read an image file as uint8 [H, W], or as uint16 [H, W] if it holds 16-bit grey: what a viewer shows of it.

    A missing, damaged, huge or ambiguous file raises `UserError`.
    """
    try:
        # Pillow maps a file that it knows by name into memory, and scrambles a mapped TIFF that is to be turned.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            _check_size(image)
            _refuse_ambiguous(image)
            # Pillow inverts a TIFF whose 0 is white, except in 16 bits.
            inverted = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
            grey = to_grey(image)
            return DEEPEST - grey if inverted and grey.dtype == np.uint16 else grey
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: fetch the images again or remove its row from the table.") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} claims more than {PIXEL_LIMIT:,} pixels: replace it by a real frame.") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # Pillow's decoders report damage through nearly any exception (a broken PNG chunk is a SyntaxError).
    except Exception as error:
        fault, advice = f"{type(error).__name__}: {' '.join(str(error).split())}", "fetch it again"
        if isinstance(error, UnidentifiedImageError):
            if known := other_format(path):
                raise UserError(f"{path} {known}.") from None
            fault, advice = "an unknown format", "convert it to PNG, fetch it again"
        raise UserError(f"{path} cannot be decoded as {', '.join(FORMATS)} ({fault}): {advice} or remove its row from "
                        "the table.") from None


def _check_size(image: Image.Image) -> None:
    if max(image.size) ** 2 > PIXEL_LIMIT:
        raise UserError(f"an image of {image.width:,} x {image.height:,} pixels, padded to a square, exceeds "
                        f"{PIXEL_LIMIT:,}: replace it by a real frame.")


def _refuse_ambiguous(image: ImageFile.ImageFile) -> None:
    """Raise `UserError` for a file that Pillow would decode only in part."""
    # Telephones append previews to a photograph: MPO.
    if image.format != "MPO" and len(list(islice(ImageSequence.Iterator(image), 2))) > 1:
        raise UserError(f"the {image.format} file holds several pages or frames: save the right one as PNG.")
    image.seek(0)
    coding = " ".join(str(tile[3]) for tile in image.tile)
    # Of 16-bit colour Pillow keeps the upper byte, which is nothing in a file that uses the lower one.
    if image.mode not in _GREY_16_BIT and (";16" in coding or "65535" in coding):
        raise UserError("16-bit colour and 16-bit grey with transparency are not read: save the image as 8-bit RGB or "
                        "as 16-bit grey.")
    # Pillow widens such grey to 8 bits, and leaves the transparent value as it was.
    if "transparency" in image.info and any(narrow in coding for narrow in ("L;2", "L;4")):
        raise UserError("grey of less than 8 bits with a transparent value is not read: save the image as 8-bit grey.")


def to_grey(image: Image.Image) -> np.ndarray:
    """Convert any Pillow image to uint8 [H, W], or to uint16 [H, W] if it holds 16-bit grey (modes I;16 and I).

    It is turned as its EXIF orientation says, colour becomes luma (ITU-R 601-2; a grey RGB image keeps its values
    exactly), and what is transparent is composited on black. Floating-point images raise `UserError`, and so does,
    before it is decoded, an image that has more than `PIXEL_LIMIT` pixels once it is padded to a square.
    """
    _check_size(image)
    if image.mode in _NO_SCALE:
        raise UserError(_NO_SCALE[image.mode])
    image = ImageOps.exif_transpose(image)
    if image.mode in _GREY_16_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > DEEPEST):
            raise UserError(f"grey values run from {values.min()} to {values.max()}, outside 0..{DEEPEST}: save "
                            "the image as 8- or 16-bit grey.")
        return np.where(values == image.info.get("transparency", -1), 0, values).astype(np.uint16)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("L", "1", "RGB"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def to_8_bit(grey: np.ndarray, bits: int) -> np.ndarray:
    """Scale uint16 from 0..2^bits - 1 to uint8, 0..255; uint8 is left as it is."""
    return grey if grey.dtype == np.uint8 else np.rint(grey * (255 / (2 ** bits - 1))).astype(np.uint8)


def frame(grey: np.ndarray, size: int, text_boxes: Sequence[Sequence[float]] = ()) -> np.ndarray:
    """Convert a native frame, uint8 [H, W], to that of a pack, uint8 [size, size]: nothing is cut or stretched.

    The boxes (left, top, right, bottom as fractions of the native frame) are blackened, the frame is centred on a black
    square, and this is resized by Lanczos, whose kernel is widened on reduction (anti-aliasing).
    """
    height, width = grey.shape
    masked = grey.copy()
    for left, top, right, bottom in text_boxes:
        masked[int(np.floor(top * height)):int(np.ceil(bottom * height)),
               int(np.floor(left * width)):int(np.ceil(right * width))] = 0
    rows, columns = max(0, width - height), max(0, height - width)
    padded = np.pad(masked, ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)))
    return np.array(Image.fromarray(padded).resize((size, size), Image.Resampling.LANCZOS))


def to_float(images: np.ndarray) -> np.ndarray:
    """Convert uint8, 0..255, of any shape to float32 in [-1, 1]."""
    if images.dtype != np.uint8:
        raise ValueError(f"bytes expected, not {images.dtype}")
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def mean_and_deviation(images: np.ndarray) -> tuple[float, float]:
    """Compute mean and standard deviation of all pixels of uint8 [N, H, W] as `to_float` gives them, without a copy."""
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in images)
    levels = to_float(np.arange(256, dtype=np.uint8)).astype(np.float64)
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Convert float32, nominally in [-1, 1], of any shape to uint8 (rounded, clipped); the inverse of `to_float`."""
    if not np.isfinite(images).all():
        raise ValueError("an image holds NaN or infinity")
    return np.clip(np.rint((np.asarray(images, dtype=np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
