"""What all pictures share: an empty sheet, its colours, and how it becomes a file.

Drawn with matplotlib's Agg canvas and its built-in defaults (no window, no global state, no user style); the
files carry no date and no software name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthplanes.records import replacing

DPI = 120
BLUE, GREY, ORANGE = "#1f5a8a", "#8a8a8a", "#c8641e"  # apart in lightness too, for readers who see no colour
COLOURS = (BLUE, ORANGE, "#3c8a50", "#8a3c78", GREY)


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure (inches) that is written to `path` when the block ends."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def without_frame(axes: Axes) -> None:
    """Leave the left and the lower edge of the frame."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plain(text: str) -> str:
    """Text as it is: a dollar sign would otherwise open a formula."""
    return text.replace("$", r"\$")
