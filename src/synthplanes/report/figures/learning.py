"""Draw learning curves of the generators."""

from pathlib import Path

import pandas as pd

from synthplanes.report.figures.canvas import COLOURS, drawing, plain

LOSSES = (("train_loss", "--", "training"), ("held_out_loss", "-", "held out"))


def learning_curves(path: Path, curves: pd.DataFrame) -> None:
    """Draw each generator's losses (records.GENERATOR_CURVE) against images seen, a colour for each budget.

    Both scales are logarithmic; values that they cannot show (zero, negative, NaN) are left out.
    """
    with drawing(path, 7.0, 4.0) as figure:
        axes = figure.add_subplot()
        for (budget, replicate), curve in curves.groupby(["budget", "replicate"], sort=False):
            position = list(dict.fromkeys(curves["budget"])).index(budget)
            for column, style, words in LOSSES:
                shown = curve[(curve["images_seen"] > 0) & (curve[column] > 0)]
                axes.plot(shown["images_seen"], shown[column], style, color=COLOURS[position % len(COLOURS)],
                          linewidth=1.2, label=plain(f"{budget}, {words}") if replicate == 0 else None)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("images seen")
        axes.set_ylabel("weighted denoising loss")
        if len(curves):
            axes.legend(fontsize=8, loc="upper right")
