"""Convert images: from a file to the square grey bytes of a pack, and to the floats of a network.

`to_float` and `to_bytes` are the only conversion between bytes and floats in this project.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from synthplanes.errors import UserError

# Of the square around a frame: 8,000 px a side (64 MB), five times the largest frame of FETAL_PLANES_DB (1495 x 787).
PIXEL_LIMIT = 64_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def read_grey(path: Path) -> np.ndarray:
    """Read the (first) frame of an image file as uint8 [H, W]; a missing, damaged or huge one raises `UserError`."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return to_grey(image)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: fetch the images again or remove its row from the table.") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} claims more than {PIXEL_LIMIT:,} pixels: replace it by a real frame.") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # Pillow's decoders report damage through nearly any exception (a broken PNG chunk is a SyntaxError).
    except Exception as error:
        raise UserError(f"{path} cannot be decoded as {', '.join(FORMATS)} ({type(error).__name__}: "
                        f"{' '.join(str(error).split())}): fetch it again or remove its row from the table.") from None


def to_grey(image: Image.Image) -> np.ndarray:
    """Convert any Pillow image to uint8 [H, W].

    Colour becomes luma (ITU-R 601-2; a grey RGB image keeps its values exactly), alpha is composited on black, and
    16-bit grey (modes I;16 and I) is scaled from 0..65535 to 0..255. Floating-point images raise `UserError`, and so
    does, before it is decoded, an image that has more than `PIXEL_LIMIT` pixels once it is padded to a square.
    """
    if max(image.size) ** 2 > PIXEL_LIMIT:
        raise UserError(f"an image of {image.width:,} x {image.height:,} pixels, padded to a square, exceeds "
                        f"{PIXEL_LIMIT:,}: replace it by a real frame.")
    if image.mode in _GREY_16_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise UserError(f"grey values run from {values.min()} to {values.max()}, outside 0..65535: save "
                            "the image as 8- or 16-bit grey.")
        return np.rint(values / 257.0).astype(np.uint8)
    if image.mode == "F":
        raise UserError("floating-point grey values have no known range: save the image as 8- or 16-bit grey.")
    if image.mode == "P" and "transparency" in image.info or image.mode in _WITH_ALPHA:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("L", "1", "RGB"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


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
