"""How losses fall."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from synthplanes.report.figures.canvas import COLOURS, drawing, plain


def learning_curves(path: Path, histories: Mapping[str, Sequence[Mapping[str, np.ndarray]]]) -> None:
    """The generators' losses against images seen (log scales), a colour for each budget.

    `histories` maps a budget's name to its generators, each with the columns images_seen int [n], train_loss and
    held_out_loss float [n]; values that a log scale cannot show (zero, negative, NaN) are left out.
    """
    with drawing(path, 7.0, 4.0) as figure:
        axes = figure.add_subplot()
        for position, (name, generators) in enumerate(histories.items()):
            colour = COLOURS[position % len(COLOURS)]
            for column, style, words in (("train_loss", "--", "training"), ("held_out_loss", "-", "held out")):
                for number, history in enumerate(generators):
                    seen = np.asarray(history["images_seen"], dtype=np.float64)
                    loss = np.asarray(history[column], dtype=np.float64)
                    shown = (seen > 0) & (loss > 0)
                    axes.plot(seen[shown], loss[shown], style, color=colour, linewidth=1.2,
                              label=plain(f"{name}, {words}") if number == 0 else None)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("images seen")
        axes.set_ylabel("weighted denoising loss")
        if histories:
            axes.legend(fontsize=8, loc="upper right")
