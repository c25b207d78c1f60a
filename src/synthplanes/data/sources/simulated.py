"""Open the phantom's frames, which the stage `simulate` wrote to disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data.sources.fetal_planes_db import CLASSES
from synthplanes.errors import UserError

NAME = "phantom"


@dataclass(frozen=True)
class Simulated:
    """A source (see `opening.Source`) of simulated frames; classes and their order are FETAL_PLANES_DB's."""

    frames: np.ndarray  # uint8 [N, S, S], memory-mapped
    table: pd.DataFrame
    name: str = NAME
    classes: tuple[str, ...] = CLASSES

    def decode(self, row: int) -> np.ndarray:
        """Return a frame, uint8 [S, S]."""
        return np.array(self.frames[row])

    def missing(self) -> np.ndarray:
        """Return no rows: the array and the table have the same length."""
        return np.zeros(0, dtype=np.int64)


def open_simulated(folder: Path) -> Simulated:
    """Open the output of the stage `simulate`; an incomplete or ill-shaped one raises `UserError`."""
    folder = Path(folder)
    frames = records.read_array(folder / "frames.npy")
    table = records.read_table(folder / "table.csv", records.SOURCE)
    if frames.dtype != np.uint8 or frames.ndim != 3 or len(frames) != len(table):
        raise UserError(f"{folder} holds {frames.dtype} frames {list(frames.shape)} and {len(table)} table "
                        "rows: run the stage `simulate` again.")
    return Simulated(frames, table)
