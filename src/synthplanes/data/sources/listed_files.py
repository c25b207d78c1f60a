"""Read a source whose images are files in a folder, listed by a CSV beside them."""

import csv
import errno
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes.data import images
from synthplanes.errors import UserError

MAX_LENGTH = 250  # characters; names appear in figures, tables and MLflow, paths in file systems
_SEPARATORS = (",", ";", "\t")
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # what spreadsheets calculate; the last four are their wide forms
_JOINERS = "\u200c\u200d"  # invisible, but Persian and Indian words need them


@dataclass(frozen=True)
class ListedFiles:
    """A source (see `opening.Source`) of image files: the table's column `file` is relative to `root`."""

    name: str
    classes: tuple[str, ...]
    table: pd.DataFrame  # records.SOURCE
    root: Path

    def decode(self, row: int) -> np.ndarray:
        """Decode an image to uint8 [H, W], grey at native size; an unreadable file raises `UserError` that names it."""
        return images.read_grey(self.root / self.table["file"].iloc[row])

    def missing(self) -> np.ndarray:
        """Return the rows (integer, ascending) whose image file does not exist."""
        return np.flatnonzero([not _is_file(self.root / file) for file in self.table["file"]])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def find_root(raw: Path, csv_name: str, how_to_get_it: str) -> Path:
    """Return the folder that holds `csv_name`: `raw`, or a folder in it (some archives wrap their content)."""
    raw = Path(raw)
    if not raw.is_dir():
        raise UserError(f"{raw} does not exist: {how_to_get_it}.")
    for folder in (raw, *sorted(path for path in raw.iterdir() if path.is_dir())):
        if (folder / csv_name).is_file():
            return folder
    raise UserError(f"{raw} holds no {csv_name}: {how_to_get_it}.")


def read_rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Read the rows of a user's CSV file, tolerating variations of the format.

    Accepts comma, semicolon or tab as separator (whichever yields the required columns), any line ending, a byte order
    mark, blanks around names and values, blank lines and surplus columns. Every row has the required columns and those
    optional ones that the header has. A required value that is empty, a row with fewer or more values than the header,
    or a missing column raises `UserError` with the line's number. So does a value that would be harmful where it is
    displayed (see `_harm`).
    """
    path = Path(path)
    try:
        lines = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="").readlines()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: put the table of the images there.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save the table as "
                        "CSV in UTF-8.") from None
    header, separator = [], ","
    for separator in _SEPARATORS:
        header = _header(path, lines, separator)
        if set(required) <= set(header):
            break
    else:
        raise UserError(f"{path} lacks the column{'s' if len(required) > 1 else ''} "
                        f"{', '.join(sorted(set(required) - _best_header(path, lines)))}: its first line must name "
                        f"{', '.join(required)}.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path} names the column {ascii(twice[0])} twice: rename one of them.")
    wanted = [name for name in (*required, *optional) if name in header]
    rows = []
    for number, values in enumerate(_split(path, lines[1:], separator), start=2):
        if not any(value.strip() for value in values):
            continue
        if len(values) < len(header):
            raise UserError(f"{path}, line {number} has {len(values)} values where the header names "
                            f"{len(header)}: complete that line.")
        if any(value.strip() for value in values[len(header):]):
            raise UserError(f"{path}, line {number} has {len(values)} values where the header names "
                            f"{len(header)}: put values that hold the separator in quotes.")
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        empty = [name for name in required if not row[name]]
        if empty:
            raise UserError(f"{path}, line {number} has no {empty[0]}: fill it in or remove the line.")
        for name in wanted:
            if harm := _harm(row[name]):
                raise UserError(f"{path}, line {number}: the {name} {ascii(row[name][:40])} {harm}: rename it.")
        rows.append({name: row[name] for name in wanted})
    if not rows:
        raise UserError(f"{path} lists no image: fill the table.")
    return rows


def _split(path: Path, lines: list[str], separator: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=separator)
    except csv.Error as error:
        raise UserError(f"{path} is no readable CSV ({error}): save the table as CSV in UTF-8.") from None


def _header(path: Path, lines: list[str], separator: str) -> list[str]:
    return [name.strip() for name in next(_split(path, lines[:1], separator), [])]


def _best_header(path: Path, lines: list[str]) -> set[str]:
    """Return the column names under the separator that splits the first line into most of them."""
    return max((set(_header(path, lines, separator)) for separator in _SEPARATORS), key=len)


def _harm(value: str) -> str:
    """Return why a value must not reach tables, pages and terminals; '' if it may.

    HTML, Markdown and mathematics are escaped where they are displayed. A formula cannot be escaped: a spreadsheet that
    opens a CSV file of this project would run it.
    """
    invisible = [letter for letter in value if letter not in _JOINERS
                 and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")]
    if invisible:
        return f"holds the invisible character U+{ord(invisible[0]):04X}"
    if len(value) > 1 and value[0] in _FORMULA and not _is_number(value):
        return f"begins with {ascii(value[0])}, which a spreadsheet takes for a formula"
    if len(value) > MAX_LENGTH:
        return f"has {len(value):,} characters, more than {MAX_LENGTH}"
    return ""


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def plain_name(where: Path | str, name: str) -> str:
    """Return `name` if it is a bare file name; one that leads into another folder raises `UserError`."""
    if "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
        raise UserError(f"{where} names '{name}', which is no bare file name: give one without a folder.")
    return name
