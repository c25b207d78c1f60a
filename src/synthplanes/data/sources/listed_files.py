"""Read images that are files in a folder, listed by a CSV beside them, such as a user's own."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, TiffImagePlugin

from synthplanes import records
from synthplanes.data import identity, images
from synthplanes.data.preparation import splits
from synthplanes.data.sources.csv_rows import read_rows
from synthplanes.errors import UserError

OWN, OWN_CSV = "table", "table.csv"  # the kind of a user's own source, and the usual name of its CSV
# A drive, an address or a home: on this system it would look like a path in the folder of the table.
_ELSEWHERE = re.compile(r"[a-z]+:/|~/", re.IGNORECASE)
_BYTES_A_PIXEL = {"L": 1, "RGB": 3, "I;16B": 2}  # of PGM and PPM files, by Pillow's names
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")


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
        path = self.root / self.table["file"].iloc[row]
        if fault := _misread(path):
            raise UserError(f"{path} {fault}.")
        return images.read_grey(path)

    def missing(self) -> np.ndarray:
        return np.flatnonzero([not os.path.isfile(self.root / file) for file in self.table["file"]])


def open_table(raw: Path, csv_name: str = OWN_CSV, test_fraction: float = 0.3, seed: int = 0,
               merge_spellings: bool = False) -> ListedFiles:
    """Open a user's images, listed in `raw`/`csv_name`; their paths, relative to it, may not lead out of its folder.

    The classes are the labels, sorted. Where the table has no column `role`, `test_fraction` of the patients (0..1,
    drawn with `seed` so that every class is on both sides where possible) become test patients. Two spellings of one
    name raise `UserError`, or are merged with `merge_spellings` (see `identity.settled`).
    """
    root = find_root(raw, plain_name("the option csv_name", csv_name),
                     "put a CSV with the columns path, label, patient beside the images, then run `synthplanes fetch "
                     "table --profile PROFILE --from FOLDER`")
    path = root / csv_name
    rows = read_rows(path, ("path", "label", "patient"), ("scanner", "operator", "sub_plane", "role"))
    rows = identity.settled(rows.rename(columns={"patient": "patient_id"}), str(path), merge_spellings)
    inside, given, notes = root.resolve(), "role" in rows, rows.attrs["notes"]
    rows = rows.assign(file=on_disk(root, rows["path"], notes))
    if given:
        rows["role"] = rows["role"].map(identity.folded)
    for row in rows.itertuples():
        if _ELSEWHERE.match(row.file) or not Path(os.path.realpath(inside / row.file)).is_relative_to(inside):
            raise UserError(f"{path}, line {row.Index} names the image '{row.path}', which lies outside {root}: move "
                            "it into that folder, and write its path from there.")
        if given and row.role not in ("train", "test"):
            raise UserError(f"{path}, line {row.Index}: the role of {row.path} is '{row.role}': write train or test "
                            "(validation is cut from the training patients), or leave the column out.")
    labels = sorted(set(rows["label"]))
    if len(labels) < 2:
        raise UserError(f"{path} has the single label '{labels[0]}': a classifier needs two or more.")
    table = rows.assign(image_id=rows["file"]).reindex(columns=list(records.SOURCE.columns), fill_value="")
    table = records.SOURCE.typed(table)
    if not given:
        if not 0 < test_fraction < 1:
            raise UserError(f"prepare.source_options.test_fraction is {test_fraction}: give a number between 0 and 1.")
        table["role"] = splits.draw_test(table, test_fraction, seed)
    table.attrs["notes"] = notes
    return ListedFiles(OWN, tuple(labels), table, root, None if given else (test_fraction, seed))


def _misread(path: Path) -> str:
    """Return why Pillow would silently read another picture than the file holds, '' if it would not."""
    try:
        with path.open("rb") as file, Image.open(file, formats=("TIFF", "PPM")) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                signed = 2 in image.tag_v2.get(339, ()) and 8 in image.tag_v2.get(258, ())
                return "holds signed 8-bit values: save the image as unsigned 8-bit grey" if signed else ""
            _, _, offset, coding = image.tile[0]
            file.seek(offset + image.width * image.height * _BYTES_A_PIXEL[str(coding)])
            return "holds several images: save the right one as PNG" if file.read(1) == b"P" else ""
    except Exception:  # whatever it is, the decoder says it better
        return ""


def find_root(raw: Path, csv_name: str, how_to_get_it: str) -> Path:
    """Return the folder that holds `csv_name`: `raw`, or the nearest one below (archives wrap their content)."""
    if not raw.is_dir():
        raise UserError(f"{raw} does not exist: {how_to_get_it}.")
    if (raw / csv_name).is_file():
        return raw
    files = [path for path in raw.rglob("*") if path.is_file() and "__MACOSX" not in path.parts]
    found = sorted((path.parent for path in files if path.name == csv_name), key=lambda path: (len(path.parts), path))
    if len(found) > 1 and len(found[0].parts) == len(found[1].parts):
        names = [folder.relative_to(raw).as_posix() for folder in found]
        raise UserError(f"{raw} holds {csv_name} in {' and in '.join(names[:3])}{' and others' * (len(names) > 3)}: "
                        "fetch one of these folders, or make one table of all.")
    if not found:
        others = sorted(path.relative_to(raw).as_posix() for path in files
                        if path.suffix.lower() in _TABLES and not path.name.startswith("."))
        instead = f", but {', '.join(others[:3])}: save the table as {csv_name}, or else " if others else ": "
        raise UserError(f"{raw} holds no {csv_name}{instead}{how_to_get_it}.")
    return found[0]


def on_disk(root: Path, paths: Sequence[str], notes: list[str]) -> list[str]:
    r"""Return paths relative to `root` as they are written on this disk, and add a note if that is another spelling.

    `./a.png`, `img//a.png` and absolute paths into `root` are shortened. What is no file is looked for with `\` as the
    separator of folders, and then among all files, without regard to letter case and Unicode form.
    """
    absolute = f"{root.resolve()}/"
    plain = [os.path.normpath(path.removeprefix(absolute)) for path in paths]
    plain = [path if os.path.isfile(root / path) else os.path.normpath(path.replace("\\", "/")) for path in plain]
    lost = {path for path in plain if not os.path.isfile(root / path)}
    spelled: dict[str, list[str]] = defaultdict(list)
    for folder, _, names in os.walk(root) if lost else ():
        for name in names:
            path = os.path.join(folder, name)[len(str(root)) + 1:]
            spelled[identity.folded(path.replace("\\", "/"))].append(path)
    found = {path: there[0] for path in lost if len(there := spelled.get(identity.folded(path), [])) == 1}
    if found:
        path = min(found)
        notes.append(f"{len(found):,} paths are spelled otherwise in the table than on the disk, first {path!r} for "
                     f"{found[path]!r}.")
    return [found.get(path, path) for path in plain]


def plain_name(where: Path | str, name: str) -> str:
    """Return `name` if it is a bare file name; one that leads into another folder raises `UserError`."""
    if "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
        raise UserError(f"{where} names '{name}', which is no bare file name: give one without a folder.")
    return name
