"""Draw estimates with their intervals, as lines or curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from synthplanes.report.figures.canvas import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, drawing, plain, without_frame

# Role of a comparison -> its colour, marker and name in the legend; shapes distinguish roles without colour.
ROLES = {"confirmatory": (BLUE, "D", "decides"), "naive": (ORANGE, "^", "naive: the reference has less training"),
         "secondary": (GREEN, "o", "secondary"), "baseline": (PURPLE, "s", "with a real-data baseline"),
         "control": (GREY, "v", "control")}


@dataclass(frozen=True)
class Interval:
    """One line of a figure: an estimate with its limits, all fractions; limits are NaN where unknown."""

    label: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison(Interval):
    """A difference between two arms, with its role (a key of ROLES) and its word."""

    role: str
    word: str
    refused: bool


@dataclass(frozen=True)
class Panel:
    """Comparisons that share the meaning of a negative and of a positive difference."""

    negative: str
    positive: str
    comparisons: Sequence[Comparison]


def forest(path: Path, panels: Sequence[Panel], margin: float) -> None:
    """Draw differences of balanced accuracy in points, a line each, over a band of the margin on both sides of zero.

    Colour and marker show the role; a hollow marker on a broken line is a comparison whose word is refused.
    """
    sizes = [max(len(panel.comparisons), 1) for panel in panels]
    with drawing(path, 8.6, 1.0 + sum(0.27 * size + 0.3 for size in sizes), committed=True) as figure:
        drawn = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False, height_ratios=sizes or None)[:, 0]
        for axes, panel in zip(drawn, panels, strict=False):
            axes.axvspan(-100 * margin, 100 * margin, color="#e8e8e8", zorder=0)
            axes.axvline(0, color="black", linewidth=0.8)
            for line, comparison in enumerate(panel.comparisons):
                colour, marker, _ = ROLES[comparison.role]
                _interval(axes, comparison, line, colour, marker, hollow=comparison.refused)
                axes.annotate(plain(comparison.word), (1.01, line), xycoords=("axes fraction", "data"), fontsize=7.5,
                              va="center", color=GREY if comparison.refused else "black")
            _name_lines(axes, [comparison.label for comparison in panel.comparisons])
            axes.tick_params(axis="x", labelsize=8)
            axes.set_title(f"\u2190 favours {panel.negative}", loc="left", fontsize=8)
            axes.set_title(f"favours {panel.positive} \u2192", loc="right", fontsize=8)
        drawn[-1].set_xlabel(f"difference of balanced accuracy, points (grey band: margin of {100 * margin:g} points)",
                             fontsize=9)
        if handles := _legend(panels):
            figure.legend(handles=handles, fontsize=7.5, loc="outside lower center", ncols=3, frameon=False)


def _legend(panels: Sequence[Panel]) -> list[Line2D]:
    comparisons = [comparison for panel in panels for comparison in panel.comparisons]
    present = {comparison.role for comparison in comparisons}
    handles = [Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.6, label=name)
               for role, (colour, marker, name) in ROLES.items() if role in present]
    if any(comparison.refused for comparison in comparisons):
        handles.append(Line2D([], [], color=GREY, marker="o", markersize=5, linewidth=1.2, linestyle=":",
                              markerfacecolor="white", label="hollow: word refused"))
    return handles


def levels(path: Path, groups: Mapping[str, Sequence[Interval]], chance: float) -> None:
    """Draw balanced accuracy of every arm in per cent, a colour for each group; a dotted line marks chance."""
    arms = list(dict.fromkeys(level.label for group in groups.values() for level in group))
    with drawing(path, 8.0, 1.3 + 0.42 * max(len(arms), 1)) as figure:
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        for position, (name, group) in enumerate(groups.items()):
            shift = 0.0 if len(groups) == 1 else 0.6 * (position / (len(groups) - 1) - 0.5)
            colour = COLOURS[position % len(COLOURS)]
            for level in group:
                _interval(axes, level, arms.index(level.label) + shift, colour)
            axes.plot([], [], "o-", color=colour, markersize=4, label=plain(name))
        _name_lines(axes, arms)
        axes.set_xlabel("balanced accuracy on test images, %")
        if len(groups) > 1:
            figure.legend(fontsize=8, loc="outside lower center", ncols=4, frameon=False)


def curves(path: Path, arms: Mapping[str, Mapping[float, Interval]], chance: float) -> None:
    """Draw balanced accuracy in per cent against the share of the training patients, a curve per arm.

    `arms` maps an arm to a mapping from share (0..1, log scale) to its score.
    """
    with drawing(path, 8.0, 5.0) as figure:
        axes = figure.add_subplot()
        axes.axhline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        shares = sorted({share for curve in arms.values() for share in curve})
        for position, (name, curve) in enumerate(arms.items()):
            # Shifted, so that intervals at the same share do not overlap.
            places = {share: 100 * share * 1.02 ** (position - (len(arms) - 1) / 2) for share in sorted(curve)}
            colour, dashed = COLOURS[position % len(COLOURS)], position >= len(COLOURS)
            axes.plot(list(places.values()), [100 * curve[share].estimate for share in places],
                      "s--" if dashed else "o-", color=colour, markersize=4, linewidth=1.2, label=plain(name))
            for share, place in places.items():
                low, high = curve[share].low, curve[share].high
                if low <= high:
                    axes.plot([place, place], [100 * low, 100 * high], color=colour, linewidth=1.0)
        axes.set_xscale("log")
        axes.set_xticks([100 * share for share in shares], [f"{100 * share:g}" for share in shares], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("training patients, % of all")
        axes.set_ylabel("balanced accuracy on test images, %")
        without_frame(axes)
        if arms:
            axes.legend(fontsize=8, loc="lower right")  # curves rise; chance lies far below


def _interval(axes: Axes, interval: Interval, line: float, colour: str, marker: str = "o",
              hollow: bool = False) -> None:
    """Draw limits where they are known (a comparison with NaN is false) and the estimate above them."""
    if interval.low <= interval.high:
        axes.plot([100 * interval.low, 100 * interval.high], [line, line], color=colour,
                  linewidth=1.2 if hollow else 1.6, linestyle=":" if hollow else "-")
    axes.plot([100 * interval.estimate], [line], marker, color=colour, markersize=5,
              markerfacecolor="white" if hollow else colour)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    without_frame(axes)
