"""Draw the performance of an arm's classifiers on test images: confusion, reliability and the scores of each seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from synthplanes.report.figures.canvas import COLOURS, GREY, drawing, plain

MARKERS = "osD^v"  # shapes beside the colours, for readers who see no colour
LEAST_SHARE = 0.01  # of the images, in a bin whose accuracy is drawn


def confusion(path: Path, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draw a matrix per arm: of every 100 images of a row's class, how many are taken for a column's class.

    `matrices` maps an arm to float [k, k] whose rows sum to 1.
    """
    n, side = max(len(matrices), 1), max(0.6 * len(classes), 2.4)  # inches, wide enough for an arm's name
    with drawing(path, 1.5 + n * (side + 0.2), 1.7 + side) as figure:
        figure.set_layout_engine("compressed")  # the other engine cuts titles off where axes are square
        panels = figure.subplots(1, n, squeeze=False)[0]
        for position, (axes, (name, matrix)) in enumerate(zip(panels, matrices.items(), strict=False)):
            axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(*matrix.shape):
                share = 100 * matrix[row, column]
                axes.text(column, row, "" if share < 0.05 else f"{share:.1f}", ha="center", va="center", fontsize=7.5,
                          color="white" if share > 60 else "black")
            names = [plain(label) for label in classes]
            axes.set_xticks(range(len(classes)), names, fontsize=8, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(classes)), names if position == 0 else [], fontsize=8)
            axes.tick_params(length=0)
            axes.set_title(plain(name), fontsize=9)
            axes.set_xlabel("taken for", fontsize=8)
        panels[0].set_ylabel("class (numbers: % of its images)", fontsize=8)


def reliability(path: Path, arms: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draw how often the most probable class is right against its probability and, below, how often each occurs.

    `arms` maps a name to the columns count, confidence and accuracy, float [bins], of equally wide bins
    (scores.reliability). Bins with less than LEAST_SHARE of the images are left out above, where they show chance.
    """
    with drawing(path, 5.0, 5.6) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=":")
        for position, (name, bins) in enumerate(arms.items()):
            colour, share = COLOURS[position % len(COLOURS)], bins["count"] / bins["count"].sum()
            shown = share >= LEAST_SHARE
            above.plot(100 * bins["confidence"][shown], 100 * bins["accuracy"][shown], color=colour, linewidth=1.2,
                       marker=MARKERS[position % len(MARKERS)], markersize=4.5, label=plain(name))
            below.stairs(100 * share, np.linspace(0, 100, len(share) + 1), color=colour, linewidth=1.2,
                         linestyle="-" if position == 0 else "--")
        above.set(ylabel="right, %", ylim=(-2, 102))
        below.set(xlabel="probability of the most probable class, %", ylabel="of images, %", ylim=(0, None))
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
        if arms:
            above.legend(fontsize=8, loc="upper left")


def seed_scatter(path: Path, references: Mapping[str, Mapping[str, np.ndarray]], arm: str) -> None:
    """Draw balanced accuracy of `arm` against that of each reference, a point per pair of runs that share a seed.

    `references` maps a reference arm to a mapping from architecture to float [pairs, 2] (reference, arm), fractions.
    """
    everything = [100 * pairs for groups in references.values() for pairs in groups.values() if len(pairs)]
    ends = np.concatenate(everything) if everything else np.array([[0, 100]])
    low, high = np.floor(ends.min() - 0.5), np.ceil(ends.max() + 0.5)
    with drawing(path, 0.8 + 3.4 * max(len(references), 1), 3.9) as figure:
        panels = figure.subplots(1, max(len(references), 1), squeeze=False, sharey=True)[0]
        for axes, (reference, groups) in zip(panels, references.items(), strict=False):
            axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":")
            for position, (arch, pairs) in enumerate(groups.items()):
                axes.plot(100 * pairs[:, 0], 100 * pairs[:, 1], MARKERS[position % len(MARKERS)], markersize=5,
                          color=COLOURS[position % len(COLOURS)], label=plain(arch), alpha=0.85)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel=plain(f"{reference}, %"))
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(plain(f"{arm}, %"))
        figure.suptitle(plain(f"one point per seed; above the line {arm} is better"), fontsize=9)
        if everything:
            panels[0].legend(fontsize=8, loc="best")
