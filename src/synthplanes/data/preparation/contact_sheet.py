"""Draw a contact sheet: a few frames of every class in one PNG file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthplanes import records

_GAP = 2              # pixels
_CAPTION_HEIGHT = 14  # pixels
_MIN_FRAME = 64       # pixels; smaller frames are enlarged by a whole factor


def write_contact_sheet(path: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str],
                        columns: int = 8) -> None:
    """Write a row of frames for each class, evenly spread over the frames of that class.

    `images` are uint8 [N, H, W], `labels` str [N]. A class without frames keeps its (empty) row.
    """
    scale = max(1, -(-_MIN_FRAME // images.shape[2]))
    height, width = images.shape[1] * scale, images.shape[2] * scale
    row_height = _CAPTION_HEIGHT + height + _GAP
    sheet = Image.new("L", (columns * (width + _GAP) + _GAP, len(classes) * row_height + _GAP), 40)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for line, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        top = line * row_height
        draw.text((_GAP, top), f"{label}: {len(rows):,} images", fill=255, font=font)
        spread = np.unique(np.linspace(0, len(rows) - 1, columns).round().astype(int))
        shown = rows[spread] if len(rows) else rows
        for column, row in enumerate(shown.tolist()):
            frame = Image.fromarray(np.array(images[row])).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(frame, (_GAP + column * (width + _GAP), top + _CAPTION_HEIGHT))
    with records.replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
