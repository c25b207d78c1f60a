"""Open a user's own images: a CSV with path, label, patient, and optionally scanner, operator, sub_plane, role."""

from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records, seeds
from synthplanes.data.preparation import splits
from synthplanes.data.sources.listed_files import ListedFiles, find_root, plain_name, read_rows
from synthplanes.errors import UserError

NAME = "table"
CSV_NAME = "table.csv"
_REQUIRED = ("path", "label", "patient")
_OPTIONAL = ("scanner", "operator", "sub_plane", "role")
_ROLES = ("train", "test")


def open_table(raw: Path, csv_name: str = CSV_NAME, test_fraction: float = 0.3, seed: int = 0) -> ListedFiles:
    """Open the images listed in `raw`/`csv_name`, whose paths are relative to it and may not lead out of its folder.

    The classes are the labels, sorted. Where the table has no column `role`, `test_fraction` of the patients (0..1,
    drawn with `seed` so that every class is on both sides where possible) become test patients.
    """
    how = ("put a CSV with the columns path, label, patient beside the images, then run `synthplanes fetch "
           "table --profile PROFILE --from FOLDER`")
    root = find_root(raw, plain_name("the option csv_name", csv_name), how)
    path = root / csv_name
    rows = read_rows(path, _REQUIRED, _OPTIONAL)
    inside = root.resolve()
    for row in rows:
        if not _inside(inside, row["path"]):
            raise UserError(f"{path} names the image '{row['path']}', which lies outside {root}: move it "
                            "into that folder.")
        if "role" in row and row["role"] not in _ROLES:
            raise UserError(f"{path}: the role of {row['path']} is '{row['role']}': write train or test "
                            "(validation is cut from the training patients), or leave the column out.")
    labels = sorted({row["label"] for row in rows})
    if len(labels) < 2:
        raise UserError(f"{path} has the single label '{labels[0]}': a classifier needs two or more.")
    table = records.SOURCE.frame(
        dict(image_id=row["path"], file=row["path"], patient_id=row["patient"], label=row["label"],
             **{name: row.get(name, "") for name in ("role", "scanner", "operator", "sub_plane")})
        for row in rows)
    if "role" not in rows[0]:
        table = table.assign(role=_draw_roles(table, test_fraction, seed))
    return ListedFiles(NAME, tuple(labels), table, root)


def _inside(folder: Path, path: str) -> bool:
    """Return whether a path leads, links followed, to somewhere inside the (resolved) folder."""
    try:
        return (folder / path).resolve().is_relative_to(folder)
    except RuntimeError:  # links in a circle
        return False


def _draw_roles(table: pd.DataFrame, test_fraction: float, seed: int) -> np.ndarray:
    """Draw 'train' or 'test' for every row, the same for all rows of a patient."""
    if not 0 < test_fraction < 1:
        raise UserError(f"prepare.source_options.test_fraction is {test_fraction}: give a number between 0 and 1.")
    holdings = splits.Holdings.of(table)
    splits.check_two_patients(holdings, "the table")
    test = splits.cut(holdings, np.arange(len(holdings.patients)), test_fraction,
                      seeds.generator(seed, "test patients"))
    return np.where(table["patient_id"].isin(holdings.patients[test]), "test", "train")
