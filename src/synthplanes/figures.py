"""The report's pictures: pure functions from numbers to PNG files whose bytes are the same every time.

Drawn with matplotlib's Agg canvas and its built-in defaults (no window, no global state, no user style); the
files carry no date and no software name.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthplanes.records import replacing

DPI = 120
BLUE, GREY, ORANGE = "#1f5a8a", "#8a8a8a", "#c8641e"  # apart in lightness too, for readers who see no colour
COLOURS = (BLUE, ORANGE, "#3c8a50", "#8a3c78", GREY)


@dataclass(frozen=True)
class Interval:
    """One line of a figure: an estimate with its limits, all fractions; limits are None where unknown."""

    label: str
    estimate: float
    low: float | None
    high: float | None


def forest(path: Path, contrasts: Sequence[Interval], margin: float) -> None:
    """Differences of balanced accuracy in points, one line each, with the band of the margin around zero."""
    with _figure(path, 8.0, 1.1 + 0.34 * max(len(contrasts), 1)) as figure:
        axes = figure.add_subplot()
        axes.axvspan(-100 * margin, 100 * margin, color="#e8e8e8", zorder=0)
        axes.axvline(0, color="black", linewidth=0.8)
        for line, contrast in enumerate(contrasts):
            _interval(axes, contrast, line, BLUE)
        _name_lines(axes, [contrast.label for contrast in contrasts])
        axes.set_xlabel(f"difference of balanced accuracy, points (grey: margin of {100 * margin:g} points)")


def levels(path: Path, groups: Mapping[str, Sequence[Interval]], chance: float) -> None:
    """Balanced accuracy per arm in per cent, one colour per architecture; a dotted line marks chance level."""
    arms = list(dict.fromkeys(level.label for group in groups.values() for level in group))
    with _figure(path, 8.0, 1.3 + 0.42 * max(len(arms), 1)) as figure:
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        for position, (name, group) in enumerate(groups.items()):
            shift = 0.0 if len(groups) == 1 else 0.6 * (position / (len(groups) - 1) - 0.5)
            colour = COLOURS[position % len(COLOURS)]
            for level in group:
                _interval(axes, level, arms.index(level.label) + shift, colour)
            axes.plot([], [], "o-", color=colour, markersize=4, label=name)
        _name_lines(axes, arms)
        axes.set_xlabel("balanced accuracy on test images, %")
        if groups:
            axes.legend(fontsize=8, loc="best")


def side_by_side(path: Path, real: Mapping[str, np.ndarray], synthetic: Mapping[str, np.ndarray]) -> None:
    """Real images beside synthetic ones, a row per class: two mappings from class to uint8 [N, H, W]."""
    classes = list(real)
    n_real = max([len(images) for images in real.values()], default=1) or 1
    n_synthetic = max([len(synthetic.get(name, ())) for name in classes], default=1) or 1
    with _figure(path, 0.9 * (n_real + n_synthetic) + 1.2, 0.95 * max(len(classes), 1) + 0.5) as figure:
        grid = figure.add_gridspec(max(len(classes), 1), n_real + 1 + n_synthetic, wspace=0.04, hspace=0.06,
                                   width_ratios=[1] * n_real + [0.3] + [1] * n_synthetic)
        for row, name in enumerate(classes):
            for first, images in ((0, real[name]), (n_real + 1, synthetic.get(name, ()))):
                for column, image in enumerate(images):
                    axes = figure.add_subplot(grid[row, first + column])
                    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                    axes.set_xticks([])
                    axes.set_yticks([])
                    if row == 0 and column == 0:
                        axes.set_title("synthetic" if first else "real", fontsize=9, loc="left")
                    if first == 0 and column == 0:
                        axes.set_ylabel(_plain(name), fontsize=7, rotation=0, ha="right", va="center")


def learning_curves(path: Path, histories: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """The generators' losses against images seen (log scales).

    `histories` maps a generator's name to its columns images_seen int [n], train_loss and held_out_loss
    float [n]; values that a log scale cannot show (zero, negative, NaN) are left out.
    """
    with _figure(path, 7.0, 4.0) as figure:
        axes = figure.add_subplot()
        for position, (name, history) in enumerate(histories.items()):
            colour = COLOURS[position % len(COLOURS)]
            for column, style, words in (("train_loss", "--", "training"), ("held_out_loss", "-", "held out")):
                seen = np.asarray(history["images_seen"], dtype=np.float64)
                loss = np.asarray(history[column], dtype=np.float64)
                shown = (seen > 0) & (loss > 0)
                axes.plot(seen[shown], loss[shown], style, color=colour, linewidth=1.2,
                          label=_plain(f"{name}, {words}"))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("images seen")
        axes.set_ylabel("weighted denoising loss")
        if histories:
            axes.legend(fontsize=8)


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure (inches) that is written to `path` when the block ends."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _interval(axes: Axes, interval: Interval, line: float, colour: str) -> None:
    if interval.low is not None and interval.high is not None:
        axes.plot([100 * interval.low, 100 * interval.high], [line, line], color=colour, linewidth=1.6)
    axes.plot([100 * interval.estimate], [line], "o", color=colour, markersize=4)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_plain(name) for name in names], fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """Text as it is: a dollar sign would otherwise open a formula."""
    return text.replace("$", r"\$")
