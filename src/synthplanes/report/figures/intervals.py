"""Draw estimates with their intervals, as lines or curves.

The tables have the columns label, estimate, low and high: fractions, whose limits are NaN where unknown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from synthplanes.report.figures.canvas import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, drawing, plain

# Role of a comparison -> its colour, marker and name in the legend; shapes distinguish roles without colour.
ROLES = {"confirmatory": (BLUE, "D", "decides"), "naive": (ORANGE, "^", "naive: the reference has less training"),
         "secondary": (GREEN, "o", "secondary"), "baseline": (PURPLE, "s", "with a real-data baseline"),
         "control": (GREY, "v", "control")}


def forest(path: Path, panels: Mapping[tuple[str, str], pd.DataFrame], margin: float) -> None:
    """Draw differences of balanced accuracy in points, a line each, over a band of the margin on both sides of zero.

    `panels` maps what a negative and what a positive difference favours to the comparisons, which also have the columns
    role (a key of ROLES), word and refused. Colour and marker show the role; a hollow marker on a broken line is a
    comparison whose word is refused.
    """
    sizes = [len(rows) for rows in panels.values()]
    with drawing(path, 8.6, 1.0 + sum(0.27 * size + 0.3 for size in sizes), committed=True) as figure:
        drawn = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False, height_ratios=sizes or None)[:, 0]
        for axes, ((negative, positive), rows) in zip(drawn, panels.items(), strict=False):
            axes.axvspan(-100 * margin, 100 * margin, color="#e8e8e8", zorder=0)
            axes.axvline(0, color="black", linewidth=0.8)
            for line, row in enumerate(rows.itertuples()):
                colour, marker, _ = ROLES[row.role]
                _interval(axes, row, line, colour, marker, hollow=row.refused)
                axes.annotate(plain(row.word), (1.01, line), xycoords=("axes fraction", "data"), fontsize=7.5,
                              va="center", color=GREY if row.refused else "black")
            _name_lines(axes, list(rows["label"]))
            axes.tick_params(axis="x", labelsize=8)
            axes.set_title(f"\u2190 favours {negative}", loc="left", fontsize=8)
            axes.set_title(f"favours {positive} \u2192", loc="right", fontsize=8)
        drawn[-1].set_xlabel(f"difference of balanced accuracy, points (grey band: margin of {100 * margin:g} points)",
                             fontsize=9)
        if panels:
            figure.legend(handles=_legend(pd.concat(panels.values())), fontsize=7.5, loc="outside lower center",
                          ncols=3, frameon=False)


def _legend(comparisons: pd.DataFrame) -> list[Line2D]:
    present = set(comparisons["role"])
    handles = [Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.6, label=name)
               for role, (colour, marker, name) in ROLES.items() if role in present]
    if comparisons["refused"].any():
        handles.append(Line2D([], [], color=GREY, marker="o", markersize=5, linewidth=1.2, linestyle=":",
                              markerfacecolor="white", label="hollow: word refused"))
    return handles


def levels(path: Path, groups: Mapping[str, pd.DataFrame], chance: float) -> None:
    """Draw balanced accuracy of every arm in per cent, a colour for each group; a dotted line marks chance."""
    arms = list(dict.fromkeys(label for rows in groups.values() for label in rows["label"]))
    with drawing(path, 8.0, 1.3 + 0.42 * max(len(arms), 1)) as figure:
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        for position, (name, rows) in enumerate(groups.items()):
            shift = 0.0 if len(groups) == 1 else 0.6 * (position / (len(groups) - 1) - 0.5)
            colour = COLOURS[position % len(COLOURS)]
            for row in rows.itertuples():
                _interval(axes, row, arms.index(row.label) + shift, colour)
            axes.plot([], [], "o-", color=colour, markersize=4, label=plain(name))
        _name_lines(axes, arms)
        axes.set_xlabel("balanced accuracy on test images, %")
        if len(groups) > 1:
            figure.legend(fontsize=8, loc="outside lower center", ncols=4, frameon=False)


def curves(path: Path, scores: pd.DataFrame, chance: float) -> None:
    """Draw balanced accuracy in per cent against the share of the training patients, a curve per label.

    `scores` also has the column share (0..1, drawn on a log scale).
    """
    with drawing(path, 8.0, 5.0) as figure:
        axes = figure.add_subplot()
        axes.axhline(100 * chance, color=GREY, linewidth=0.8, linestyle=":")
        arms = scores["label"].unique()
        for position, name in enumerate(arms):
            curve = scores[scores["label"] == name].sort_values("share")
            # Shifted, so that intervals at the same share do not overlap.
            places = 100 * curve["share"] * 1.02 ** (position - (len(arms) - 1) / 2)
            colour, dashed = COLOURS[position % len(COLOURS)], position >= len(COLOURS)
            axes.plot(places, 100 * curve["estimate"], "s--" if dashed else "o-", color=colour, markersize=4,
                      linewidth=1.2, label=plain(name))
            for place, low, high in zip(places, curve["low"], curve["high"], strict=True):
                if low <= high:
                    axes.plot([place, place], [100 * low, 100 * high], color=colour, linewidth=1.0)
        shares = sorted(set(scores["share"]))
        axes.set_xscale("log")
        axes.set_xticks([100 * share for share in shares], [f"{100 * share:g}" for share in shares], minor=False)
        axes.minorticks_off()
        axes.set(xlabel="training patients, % of all", ylabel="balanced accuracy on test images, %")
        axes.spines[["top", "right"]].set_visible(False)
        if len(scores):
            axes.legend(fontsize=8, loc="lower right")  # curves rise; chance lies far below


def _interval(axes: Axes, row: Any, line: float, colour: str, marker: str = "o", hollow: bool = False) -> None:
    """Draw limits where they are known (a comparison with NaN is false) and the estimate above them."""
    if row.low <= row.high:
        axes.plot([100 * row.low, 100 * row.high], [line, line], color=colour, linewidth=1.2 if hollow else 1.6,
                  linestyle=":" if hollow else "-")
    axes.plot([100 * row.estimate], [line], marker, color=colour, markersize=5,
              markerfacecolor="white" if hollow else colour)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
