"""Estimates with their intervals: one line each, or as curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from synthplanes.report.figures.canvas import BLUE, COLOURS, GREY, drawing, plain, without_frame


@dataclass(frozen=True)
class Interval:
    """One line of a figure: an estimate with its limits, all fractions; limits are None where unknown."""

    label: str
    estimate: float
    low: float | None
    high: float | None


def forest(path: Path, contrasts: Sequence[Interval], margin: float) -> None:
    """Differences of balanced accuracy in points, one line each, with the band of the margin around zero."""
    with drawing(path, 8.0, 1.1 + 0.34 * max(len(contrasts), 1)) as figure:
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
    with drawing(path, 8.0, 1.3 + 0.42 * max(len(arms), 1)) as figure:
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


def curves(path: Path, arms: Mapping[str, Mapping[float, Interval]], chance: float) -> None:
    """Balanced accuracy in per cent against the share of the training patients (0..1, log scale), one curve per arm."""
    with drawing(path, 8.0, 5.0) as figure:
        axes = figure.add_subplot()
        axes.axhline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        shares = sorted({share for found in arms.values() for share in found})
        for position, (name, found) in enumerate(arms.items()):
            # Moved apart, so that intervals at one share can be told from each other.
            at = {share: 100 * share * 1.02 ** (position - (len(arms) - 1) / 2) for share in sorted(found)}
            colour, dashed = COLOURS[position % len(COLOURS)], position >= len(COLOURS)
            axes.plot([at[share] for share in at], [100 * found[share].estimate for share in at], "s--" if dashed else "o-",
                      color=colour, markersize=4, linewidth=1.2, label=plain(name))
            for share, where in at.items():
                if found[share].low is not None and found[share].high is not None:
                    axes.plot([where, where], [100 * found[share].low, 100 * found[share].high], color=colour, linewidth=1.0)
        axes.set_xscale("log")
        axes.set_xticks([100 * share for share in shares], [f"{100 * share:g}" for share in shares], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("training patients, % of all")
        axes.set_ylabel("balanced accuracy on test images, %")
        without_frame(axes)
        if arms:
            axes.legend(fontsize=8, loc="lower right")  # curves rise; chance lies far below


def _interval(axes: Axes, interval: Interval, line: float, colour: str) -> None:
    if interval.low is not None and interval.high is not None:
        axes.plot([100 * interval.low, 100 * interval.high], [line, line], color=colour, linewidth=1.6)
    axes.plot([100 * interval.estimate], [line], "o", color=colour, markersize=4)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    without_frame(axes)
