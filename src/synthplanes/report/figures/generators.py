"""Draw what generators made and how they learned."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes.report.figures.canvas import COLOURS, drawing, plain

TILE = 66  # px of an image in the picture, about; larger images are averaged down
MOST_IMAGES = 48  # in one picture, so that its file stays small
LOSSES = (("train_loss", "--", "training"), ("held_out_loss", "-", "held out"))


def images_per_class(n_classes: int) -> int:
    """Return how many images of each class to show on either side: 4, fewer with many classes."""
    return max(1, min(4, MOST_IMAGES // 2 // n_classes))


def real_beside_synthetic(path: Path, real: Mapping[str, np.ndarray], synthetic: Mapping[str, np.ndarray]) -> None:
    """Draw real images beside synthetic ones, a row per class: two mappings from class to uint8 [N, H, W]."""
    n_real, n_synthetic = (max(map(len, images.values())) for images in (real, synthetic))
    with drawing(path, 0.64 * (n_real + n_synthetic) + 1.2, 0.66 * len(real) + 0.4, committed=True) as figure:
        grid = figure.add_gridspec(len(real), n_real + 1 + n_synthetic, wspace=0.04, hspace=0.06,
                                   width_ratios=[1] * n_real + [0.3] + [1] * n_synthetic)
        for row, name in enumerate(real):
            for first, images in ((0, real[name]), (n_real + 1, synthetic.get(name, ()))):
                for column, image in enumerate(images):
                    axes = figure.add_subplot(grid[row, first + column])
                    axes.imshow(image, cmap="gray", vmin=0, vmax=255,
                                interpolation="nearest" if len(image) <= TILE else "antialiased")
                    axes.set(xticks=[], yticks=[])
                    if row == 0 and column == 0:
                        axes.set_title("synthetic" if first else "real", fontsize=9, loc="left")
                    if first == 0 and column == 0:
                        axes.set_ylabel(plain(name), fontsize=7, rotation=0, ha="right", va="center")


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
        axes.set(xscale="log", yscale="log", xlabel="images seen", ylabel="weighted denoising loss")
        if len(curves):
            axes.legend(fontsize=8, loc="upper right")
