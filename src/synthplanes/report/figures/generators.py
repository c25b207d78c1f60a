"""Draw what generators made and how they learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes.report.figures.canvas import COLOURS, drawing, plain

TILE = 66  # px of an image in the picture, about; larger images are averaged down
MOST_IMAGES = 48  # in one picture, so that its file stays small
LOSSES = (("train_loss", "--", "training"), ("held_out_loss", "-", "held out"))
SHARES = (("label_fidelity", "-o", "label recognised"), ("copies", "-s", "possible copies"))


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


def by_images_seen(path: Path, drawn: Mapping[int, np.ndarray], classes: Sequence[str]) -> None:
    """Draw what a generator made after so many training images, a row for each: uint8 [classes, H, W], in order."""
    with drawing(path, 1.0 * len(classes) + 0.6, 0.9 * len(drawn) + 0.4, committed=True) as figure:
        grid = figure.subplots(len(drawn), len(classes), squeeze=False)
        for row, (seen, images) in zip(grid, drawn.items(), strict=True):
            row[0].set_ylabel(f"{seen:,}", fontsize=7, rotation=0, ha="right", va="center")
            for axes, image in zip(row, images, strict=True):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255,
                            interpolation="nearest" if len(image) <= TILE else "antialiased")
                axes.set(xticks=[], yticks=[])
        for axes, name in zip(grid[0], classes, strict=True):
            axes.set_title(plain(name), fontsize=6)


def learning_curves(path: Path, curves: pd.DataFrame) -> None:
    """Draw the losses and, beside them, label fidelity and possible copies of each generator against images seen.

    `curves` holds the rows of one budget (records.GENERATOR_CURVE). The scale of images is logarithmic; values that it
    or that of the losses cannot show (zero, negative, NaN) are left out.
    """
    with drawing(path, 8.0, 3.4, committed=True) as figure:
        for axes, columns, factor in zip(figure.subplots(1, 2), (LOSSES, SHARES), (1, 100), strict=True):
            for replicate, curve in curves.groupby("replicate"):
                for colour, (column, style, words) in zip(COLOURS, columns, strict=False):
                    possible = curve[column] > 0 if factor == 1 else curve[column] >= 0
                    shown = curve[(curve["images_seen"] > 0) & possible]
                    axes.plot(shown["images_seen"], factor * shown[column], style, color=colour, linewidth=1.2,
                              markersize=4, label=words if replicate == 0 else None)
            axes.set(xscale="log", xlabel="images seen")
            if len(curves):
                axes.legend(fontsize=8)
            if factor == 1:
                axes.set(yscale="log", ylabel="weighted denoising loss")
            else:
                axes.set(ylim=(0, 100), ylabel="% of the synthetic images")
