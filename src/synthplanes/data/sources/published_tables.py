"""Read the table of a published data set, and compare its counts with the published ones."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes.data.sources.listed_files import read_rows
from synthplanes.errors import UserError

_ROLES = {"1": "train", "0": "test"}


def read_published(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read rows with the given columns; `role` (train | test), from the published flag `Train`, is added to each."""
    rows = read_rows(path, columns)
    for row in rows:
        if row["Train"] not in _ROLES:
            raise UserError(f"{path}: Train of {row['Image_name']} is '{row['Train']}', not 0 or 1: fetch "
                            "the table again.")
        row["role"] = _ROLES[row["Train"]]
    return rows


def check_counts(table: pd.DataFrame, path: Path, expected: Iterable[tuple[str, pd.Series | slice, tuple[int, ...]]]
                 ) -> None:
    """Compare a table (`records.SOURCE`) with published counts; the first difference raises `UserError`.

    Each item of `expected` is what is counted, its rows (bool), and (train images, test images) or (train images, test
    images, train patients, test patients). A patient in train and in test is a difference, too.
    """
    for what, rows, published in expected:
        counts = _counts(table[rows])[:len(published)]
        if counts != published:
            raise UserError(f"{path} is not the complete official table: {what} has {_in_words(counts)} where the "
                            f"published one has {_in_words(published)}: fetch it again, or set official to false in "
                            "prepare.source_options.")
    on_both = np.intersect1d(*(table["patient_id"][table["role"] == role] for role in ("train", "test")))
    if len(on_both):
        raise UserError(f"{path} is not the official table: patient {on_both[0]} is in train and in test: fetch "
                        "it again.")


def _counts(table: pd.DataFrame) -> tuple[int, ...]:
    sides = [table["patient_id"][table["role"] == role] for role in ("train", "test")]
    return (*(len(side) for side in sides), *(side.nunique() for side in sides))


def _in_words(counts: tuple[int, ...]) -> str:
    words = f"{counts[0]} + {counts[1]} images"
    return words + (f" of {counts[2]} + {counts[3]} patients" if len(counts) == 4 else "")
