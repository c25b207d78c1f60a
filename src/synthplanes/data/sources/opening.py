"""Where images come from: one small interface, and the function that opens a source by its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from synthplanes import records
from synthplanes.data.sources import african_planes, fetal_planes_db, simulated, table
from synthplanes.errors import UserError


class Source(Protocol):
    """Images with their table. A new source: a module with a class like this, and a line in `open_source`."""

    name: str
    classes: tuple[str, ...]  # their order is the order of all probability columns
    table: records.Table  # records.SOURCE

    def decode(self, row: int) -> np.ndarray:
        """The image of one table row: uint8 [H, W], grey at native size; `UserError` if it cannot be read."""

    def missing(self) -> np.ndarray:
        """The table rows (integer, ascending) whose image does not exist."""


# kind: its opener's keyword arguments and their types
OPTIONS: dict[str, dict[str, type]] = {
    simulated.NAME: {},
    # whether the table must be the complete published one
    fetal_planes_db.NAME: dict(official=bool),
    african_planes.NAME: dict(official=bool),
    # the table's file name; where it has no roles: the share of patients for test, the seed that draws them
    table.NAME: dict(csv_name=str, test_fraction=float, seed=int),
}


def open_source(kind: str, raw: Path, simulated_folder: Path, options: Mapping) -> Source:
    """Open a source: `raw` is the folder that `fetch` filled, `simulated_folder` the output of `simulate`.

    `options` are those of `OPTIONS`, all of them optional. An unknown kind or option raises `UserError`.
    """
    if kind not in OPTIONS:
        raise UserError(f"'{kind}' is no source: choose one of {', '.join(OPTIONS)}.")
    for name, value in options.items():
        if name not in OPTIONS[kind]:
            raise UserError(f"the source {kind} has no option '{name}': it takes "
                            f"{', '.join(OPTIONS[kind]) or 'none'}.")
        if type(value) is not OPTIONS[kind][name]:
            raise UserError(f"the option '{name}' of the source {kind} is {value!r}: give a value of type "
                            f"{OPTIONS[kind][name].__name__}.")
    if kind == simulated.NAME:
        return simulated.open_simulated(simulated_folder)
    openers = {fetal_planes_db.NAME: fetal_planes_db.open_fetal_planes_db,
               african_planes.NAME: african_planes.open_african_planes,
               table.NAME: table.open_table}
    return openers[kind](raw, **options)
