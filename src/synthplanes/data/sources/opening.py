"""Open a source of images by its kind, behind one small interface."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data import identity
from synthplanes.data.sources.listed_files import OWN, open_table
from synthplanes.data.sources.published import PUBLICATIONS, open_published
from synthplanes.errors import UserError
from synthplanes.protocol.config import Prepare


class Source(Protocol):
    """The interface of a source: a dataclass of images with their table. OPENERS lists them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Return the kind of source, as in params.yaml."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of all probability columns."""

    @property
    def table(self) -> pd.DataFrame:
        """Return the table of images, one row each (`records.SOURCE`); `attrs["notes"]` says how names were read."""

    def decode(self, row: int) -> np.ndarray:
        """Return the image of a table row, uint8 [H, W], grey at native size; raise `UserError` if it is unreadable."""

    def missing(self) -> np.ndarray:
        """Return the table rows (integer, ascending) whose image does not exist."""


@dataclass(frozen=True)
class Simulated:
    """The phantom's frames, which the stage `simulate` wrote; classes and their order are FETAL_PLANES_DB's."""

    frames: np.ndarray  # uint8 [N, S, S], memory-mapped
    table: pd.DataFrame
    name: str = "phantom"
    classes: tuple[str, ...] = PUBLICATIONS["fetal_planes_db"].classes

    def decode(self, row: int) -> np.ndarray:
        return np.array(self.frames[row])

    def missing(self) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


def open_simulated(folder: Path) -> Simulated:
    """Open the output of the stage `simulate`; an incomplete or ill-shaped one raises `UserError`."""
    frames = records.read_array(folder / "frames.npy")
    table = identity.settled(records.read_table(folder / "table.csv", records.SOURCE), str(folder), merge=False)
    if frames.dtype != np.uint8 or frames.ndim != 3 or len(frames) != len(table):
        raise UserError(f"{folder} holds {frames.dtype} frames {list(frames.shape)} and {len(table)} table "
                        "rows: run the stage `simulate` again.")
    return Simulated(frames, table)


# Kind of source: the function that opens a folder. Its keyword arguments are the kind's options, all with a default.
OPENERS: dict[str, Callable[..., Source]] = {
    Simulated.name: open_simulated,
    **{name: partial(open_published, name) for name in PUBLICATIONS},
    OWN: open_table,
}


def open_source(parameters: Prepare, raw: Path, simulated_folder: Path) -> Source:
    """Open the source of a profile in `raw`, or in the output of `simulate`; wrong options raise `UserError`."""
    kind, options = parameters.source, parameters.source_options
    types = {option.name: type(option.default) for option in list(signature(OPENERS[kind]).parameters.values())[1:]}
    for name, value in options.items():
        if name not in types:
            raise UserError(f"prepare.source_options: the source {kind} has no option '{name}': it takes "
                            f"{', '.join(types) or 'none'}.")
        if type(value) is not types[name]:
            raise UserError(f"prepare.source_options.{name} of the source {kind} is {value!r}: give a value of type "
                            f"{types[name].__name__}.")
    return OPENERS[kind](simulated_folder if kind == Simulated.name else raw, **options)
