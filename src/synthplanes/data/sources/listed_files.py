"""Read images that are files in a folder, listed by a CSV beside them, such as a user's own."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data import images
from synthplanes.data.preparation import splits
from synthplanes.errors import UserError

OWN, OWN_CSV = "table", "table.csv"  # the kind of a user's own source, and the usual name of its CSV
MAX_LENGTH = 250  # characters; names appear in figures, tables and MLflow, paths in file systems
_SEPARATORS = (",", ";", "\t")
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # what spreadsheets calculate; the last four are their wide forms
_JOINERS = "\u200c\u200d"  # invisible, but Persian and Indian words need them


@dataclass(frozen=True)
class ListedFiles:
    """A source (see `opening.Source`) of image files: the table's column `file` is relative to `root`.

    `drawn` is the fraction and the seed with which the test patients were drawn, None where the table names the roles.
    """

    name: str
    classes: tuple[str, ...]
    table: pd.DataFrame
    root: Path
    drawn: tuple[float, int] | None = None

    def decode(self, row: int) -> np.ndarray:
        return images.read_grey(self.root / self.table["file"].iloc[row])

    def missing(self) -> np.ndarray:
        return np.flatnonzero([not os.path.isfile(self.root / file) for file in self.table["file"]])


def open_table(raw: Path, csv_name: str = OWN_CSV, test_fraction: float = 0.3, seed: int = 0) -> ListedFiles:
    """Open a user's images, listed in `raw`/`csv_name`; their paths, relative to it, may not lead out of its folder.

    The classes are the labels, sorted. Where the table has no column `role`, `test_fraction` of the patients (0..1,
    drawn with `seed` so that every class is on both sides where possible) become test patients.
    """
    root = find_root(raw, plain_name("the option csv_name", csv_name),
                     "put a CSV with the columns path, label, patient beside the images, then run `synthplanes fetch "
                     "table --profile PROFILE --from FOLDER`")
    path = root / csv_name
    rows = read_rows(path, ("path", "label", "patient"), ("scanner", "operator", "sub_plane", "role"))
    given = "role" in rows
    inside = root.resolve()
    for row in rows.itertuples():
        if not Path(os.path.realpath(inside / row.path)).is_relative_to(inside):
            raise UserError(f"{path} names the image '{row.path}', which lies outside {root}: move it into "
                            "that folder.")
        if given and row.role not in ("train", "test"):
            raise UserError(f"{path}: the role of {row.path} is '{row.role}': write train or test "
                            "(validation is cut from the training patients), or leave the column out.")
    labels = sorted(set(rows["label"]))
    if len(labels) < 2:
        raise UserError(f"{path} has the single label '{labels[0]}': a classifier needs two or more.")
    table = rows.assign(image_id=rows["path"], file=rows["path"], patient_id=rows["patient"])
    table = records.SOURCE.typed(table.reindex(columns=list(records.SOURCE.columns), fill_value=""))
    if not given:
        if not 0 < test_fraction < 1:
            raise UserError(f"prepare.source_options.test_fraction is {test_fraction}: give a number between 0 and 1.")
        table["role"] = splits.draw_test(table, test_fraction, seed)
    return ListedFiles(OWN, tuple(labels), table, root, None if given else (test_fraction, seed))


def find_root(raw: Path, csv_name: str, how_to_get_it: str) -> Path:
    """Return the folder that holds `csv_name`: `raw`, or a folder in it (some archives wrap their content)."""
    if not raw.is_dir():
        raise UserError(f"{raw} does not exist: {how_to_get_it}.")
    for folder in (raw, *sorted(path for path in raw.iterdir() if path.is_dir())):
        if (folder / csv_name).is_file():
            return folder
    raise UserError(f"{raw} holds no {csv_name}: {how_to_get_it}.")


def read_rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read the rows of a user's CSV file as text, tolerating variations of the format.

    Accepts comma, semicolon or tab as separator (whichever yields the required columns), any line ending, a byte order
    mark, blanks around names and values, blank lines and surplus columns. The result has the required columns and those
    optional ones that the header has. A missing column and a missing, surplus or harmful value raise `UserError`.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        headers = [(next(_split(text, separator), []), separator) for separator in _SEPARATORS]
        header, separator = min(headers, key=lambda found: len(set(required) - set(found[0])))
        lines = list(_split(text, separator))[1:]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save the table as "
                        "CSV in UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is no readable CSV ({error}): save the table as CSV in UTF-8.") from None
    if lacking := sorted(set(required) - set(header)):
        raise UserError(f"{path} lacks the column{'s' if len(required) > 1 else ''} {', '.join(lacking)}: its first "
                        f"line must name {', '.join(required)}.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{path} names the column {ascii(twice[0])} twice: rename one of them.")
    rows = []
    for number, values in enumerate(lines, start=2):
        if not any(values):
            continue
        if (short := len(values) < len(header)) or any(values[len(header):]):
            raise UserError(f"{path}, line {number} has {len(values)} values where the header names {len(header)}: "
                            + ("complete that line." if short else "put values that hold the separator in quotes."))
        row = {name: value for name, value in zip(header, values) if name in (*required, *optional)}
        for name in required:
            if not row[name]:
                raise UserError(f"{path}, line {number} has no {name}: fill it in or remove the line.")
        for name, value in row.items():
            if harm := _harm(value):
                raise UserError(f"{path}, line {number}: the {name} {ascii(value[:40])} {harm}: rename it.")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} lists no image: fill the table.")
    return pd.DataFrame(rows)


def _split(text: str, separator: str) -> Iterator[list[str]]:
    for values in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
        yield [value.strip() for value in values]


def _harm(value: str) -> str:
    """Return why a value must not reach tables, pages and terminals; '' if it may.

    HTML, Markdown and mathematics are escaped where they are displayed. A formula cannot be escaped: a spreadsheet that
    opens a CSV file of this project would run it.
    """
    invisible = [letter for letter in value if letter not in _JOINERS
                 and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")]
    if invisible:
        return f"holds the invisible character U+{ord(invisible[0]):04X}"
    if len(value) > 1 and value[0] in _FORMULA:
        try:
            float(value)
        except ValueError:
            return f"begins with {ascii(value[0])}, which a spreadsheet takes for a formula"
    if len(value) > MAX_LENGTH:
        return f"has {len(value):,} characters, more than {MAX_LENGTH}"
    return ""


def plain_name(where: Path | str, name: str) -> str:
    """Return `name` if it is a bare file name; one that leads into another folder raises `UserError`."""
    if "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
        raise UserError(f"{where} names '{name}', which is no bare file name: give one without a folder.")
    return name
