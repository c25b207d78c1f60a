"""Read the rows of a CSV file that somebody wrote by hand, by a spreadsheet or by a program."""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from synthplanes.data.identity import folded
from synthplanes.data.sources.file_kinds import kind_of
from synthplanes.errors import UserError

MAX_LENGTH = 250  # characters; names appear in figures, tables and MLflow, paths in file systems
_SEPARATORS = (",", ";", "\t")
_DECLARED = re.compile(r'"?sep=([^\w\s"]|\t)"?(?=[\r\n])', re.IGNORECASE)  # Excel's own first line
_CODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
            codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # what spreadsheets calculate; the last four are their wide forms
_JOINERS = "\u200c\u200d"  # invisible, but Persian and Indian words need them
_SPREADSHEET_ERROR = re.compile(r"#(?:REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|#+)")


def read_rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read the rows of a user's CSV file as text; the index of the result is the line where a row begins.

    Accepts UTF-8, and UTF-16 with a byte order mark; comma, semicolon or tab as separator (whichever yields the
    required columns, or the one that Excel's first line `sep=` names); any line ending and letter case of the header;
    blanks around names and values, blank lines, surplus columns, and empty columns at the end. The result has the
    required columns and those optional ones that the header has. Any other deviation raises `UserError`.
    """
    text = _read_text(path)
    if declared := _DECLARED.match(text):
        text = text[declared.end():]
    names = {folded(name): name for name in (*required, *optional)}
    headers = {}
    for separator in declared[1] if declared else _SEPARATORS:
        _, cells = next(_records(path, text, separator, strict=False), (1, []))
        headers[separator] = [names.get(folded(cell), cell) for cell in cells]
    separator = min(headers, key=lambda found: len(set(required) - set(headers[found])))
    header = headers[separator]
    if lacking := sorted(set(required) - set(header)):
        first = next(iter(text.splitlines()), "").strip()[:60]
        raise UserError(f"{path} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}: its first "
                        f"line, {first!a}, must name {', '.join(required)}, separated by commas, semicolons or tabs.")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise UserError(f"{path} names the column {ascii(twice[0])} twice: rename one of them.")
    width = len(header)
    while not header[-1]:
        header.pop()
    lines, rows = [], []
    for line, values in list(_records(path, text, separator))[1:]:
        if last := _swallowed(values, separator, width):
            raise UserError(f"{path}, line {line} opens a quote that takes in whole rows, up to line {line + last}: "
                            "close the quote, or take it out.")
        values = [value.strip() for value in values]
        if (short := len(values) < len(header)) or any(values[len(header):]):
            raise UserError(f"{path}, line {line} has {len(values)} values where the header names {len(header)}: " + (
                "complete that line." if short else
                "put values that hold the separator in quotes, and give every column a name."))
        row = {name: value for name, value in zip(header, values) if name in (*required, *optional)}
        if list(row) == [names.get(folded(value)) for value in row.values()]:
            raise UserError(f"{path}, line {line} names the columns again: remove that line.")
        for name in required:
            if not row[name]:
                raise UserError(f"{path}, line {line} has no {name}: fill it in or remove the line.")
        for name, value in row.items():
            if harm := _harm(value):
                raise UserError(f"{path}, line {line}: the {name} {ascii(value[:40])} {harm}: rename it.")
        lines.append(line)
        rows.append(row)
    if not rows:
        raise UserError(f"{path} lists no image: fill the table.")
    return pd.DataFrame(rows, index=lines)


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    coding = next((coding for mark, coding in _CODINGS.items() if content.startswith(mark)), "utf-8")
    kind = kind_of(content[:512]) if content else ""
    if not kind and coding == "utf-8" and b"\0" in content[:4]:
        kind = "UTF-16 without a byte order mark"
    if kind:
        raise UserError(f"{path} is {kind.replace('a zip', 'an Excel workbook or a zip')}: save the table as CSV in "
                        "UTF-8.")
    try:
        return content.decode(coding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save the table as "
                        "CSV in UTF-8.") from None


def _records(path: Path, text: str, separator: str, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yield every record that is not blank, after the line of the file where it begins; the first line is 1."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=strict)
    line = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line} begins what is no readable CSV ({error}): repair its quotes, or save the "
                        "table as CSV in UTF-8.") from None


def _swallowed(values: list[str], separator: str, width: int) -> int:
    """Return over how many line breaks a value goes that consists of the rest of a row, rows, and the start of a row.

    An opening quote that nobody closes makes such a value, up to the next quote. The record has a regular number of
    fields. 0 if there is none.
    """
    for place, value in enumerate(values):
        counts = [part.count(separator) for part in re.split("\r\n|\r|\n", value)]
        if len(counts) > 1 and counts == [width - 1 - place, *[width - 1] * (len(counts) - 2), place]:
            return len(counts) - 1
    return 0


def _harm(value: str) -> str:
    """Return why a value must not reach tables, pages and terminals; '' if it may.

    HTML, Markdown and mathematics are escaped where they are displayed. A formula cannot be escaped: a spreadsheet that
    opens a CSV file of this project would run it.
    """
    invisible = [letter for letter in value if letter not in _JOINERS
                 and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")]
    if invisible:
        return f"holds the invisible character U+{ord(invisible[0]):04X}"
    if _SPREADSHEET_ERROR.fullmatch(value):
        return "is an error of a spreadsheet"
    if len(value) > 1 and value[0] in _FORMULA and folded(value).strip("-"):
        try:
            float(value)
        except ValueError:
            return f"begins with {ascii(value[0])}, which a spreadsheet takes for a formula"
    if len(value) > MAX_LENGTH:
        return f"has {len(value):,} characters, more than {MAX_LENGTH}"
    return ""
