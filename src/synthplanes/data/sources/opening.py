"""Open a source of images by its kind, behind one small interface."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from synthplanes.data.sources import african_planes, fetal_planes_db, simulated, table
from synthplanes.errors import UserError
from synthplanes.protocol.config import Prepare


class Source(Protocol):
    """The interface of a source: a dataclass of images with their table.

    A new source is a module with such a class, and a line in OPENERS.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Return the kind of source, as in params.yaml."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of all probability columns."""

    @property
    def table(self) -> pd.DataFrame:
        """Return the table of images, one row each (`records.SOURCE`)."""

    def decode(self, row: int) -> np.ndarray:
        """Return the image of a table row, uint8 [H, W], grey at native size; raise `UserError` if it is unreadable."""

    def missing(self) -> np.ndarray:
        """Return the table rows (integer, ascending) whose image does not exist."""


# Kind of source: the function that opens a folder. Its keyword arguments are the kind's options, all with a default.
OPENERS: dict[str, Callable[..., Source]] = {
    simulated.NAME: simulated.open_simulated,
    fetal_planes_db.NAME: fetal_planes_db.open_fetal_planes_db,
    african_planes.NAME: african_planes.open_african_planes,
    table.NAME: table.open_table,
}


def open_source(parameters: Prepare, raw: Path, simulated_folder: Path) -> Source:
    """Open the source of a profile: in `raw`, which `fetch` filled, or in the output of the stage `simulate`.

    An option that the kind does not have, or of another type than its default, raises `UserError`.
    """
    kind, options = parameters.source, parameters.source_options
    _, *known = signature(OPENERS[kind]).parameters.values()
    types = {option.name: type(option.default) for option in known}
    for name, value in options.items():
        if name not in types:
            raise UserError(f"prepare.source_options: the source {kind} has no option '{name}': it takes "
                            f"{', '.join(types) or 'none'}.")
        if type(value) is not types[name]:
            raise UserError(f"prepare.source_options.{name} of the source {kind} is {value!r}: give a value of type "
                            f"{types[name].__name__}.")
    return OPENERS[kind](simulated_folder if kind == simulated.NAME else raw, **options)
