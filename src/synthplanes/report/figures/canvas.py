"""Draw on an empty figure and write it as a PNG file whose bytes are the same every time.

Figures use matplotlib's Agg canvas with its built-in defaults: no window, no global state, no user style. The files
carry no date and no software name.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from synthplanes.records import replacing

DPI = 120
BLUE, ORANGE, GREEN, PURPLE, GREY = "#1f5a8a", "#c8641e", "#3c8a50", "#8a3c78", "#8a8a8a"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)  # apart in lightness too, for readers who see no colour
COMMITTED_BYTES = 90_000  # at most, of a picture under version control
_NUMBERS_OF_COLOURS = (128, 64, 48, 32, 24, 16, 12, 8, 6, 4)


@contextmanager
def drawing(path: Path, width: float, height: float, committed: bool = False) -> Iterator[Figure]:
    """Yield an empty figure (inches) and write it to `path` when the block ends.

    A picture that will be committed has a palette of as many colours as fit into COMMITTED_BYTES.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as temporary:
            if committed:
                canvas.draw()
                temporary.write_bytes(_with_palette(np.asarray(canvas.buffer_rgba())))
            else:
                figure.savefig(temporary, format="png", metadata={"Software": None})


def _with_palette(pixels: np.ndarray) -> bytes:
    """Encode uint8 [height, width, 4] as a PNG file with the largest palette that fits, or the smallest there is."""
    image = Image.fromarray(pixels).convert("RGB")
    for colours in _NUMBERS_OF_COLOURS:
        encoded = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(encoded, format="PNG", optimize=True)
        if encoded.tell() <= COMMITTED_BYTES:
            break
    return encoded.getvalue()


def plain(text: str) -> str:
    """Escape dollar signs, which would open a formula."""
    return text.replace("$", r"\$")
