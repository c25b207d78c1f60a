"""The tables on disk: their columns, and the only code that reads and writes them.

Tables are CSV files (UTF-8, comma, `\n`), one header row, columns in the order of their schema. JSON files have
sorted keys. Everything is written to a neighbour file first and moved into place, so that a killed
process never leaves half a file behind.
"""

import csv
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthplanes.errors import UserError


@dataclass(frozen=True)
class Schema:
    """A table's name and its columns; a column is `str`, `int` or `float`."""

    name: str
    columns: Mapping[str, type]


# One row per image as a source lists it. `file` is what the source opens; role is train | test | fresh,
# or '' where the source knows none; scanner, operator and sub_plane are '' where unknown.
SOURCE = Schema("source table", dict(image_id=str, file=str, patient_id=str, label=str, role=str,
                                     scanner=str, operator=str, sub_plane=str))
# One row per image of a packed real set, in the order of `images.npy`; sha256 is of the decoded frame.
INDEX = Schema("index.csv", dict(image_id=str, patient_id=str, label=str, role=str, scanner=str,
                                 operator=str, sub_plane=str, sha256=str))
# One row per synthetic image, in the order of its `images.npy`.
SYNTHETIC = Schema("synthetic index.csv", dict(image_id=str, label=str, scanner=str, budget=str,
                                               replicate=int, seed=int, source=str))
# Which images belong to a budget, and on which side: role is train | validation, in cross-validation also test.
SPLITS = Schema("splits.csv", dict(budget=str, replicate=int, image_id=str, role=str))
# One row per classifier: the first axis of `probabilities.npy` [runs, images, classes].
RUNS = Schema("runs.csv", dict(arm=str, arch=str, budget=str, replicate=int, seed=int))
# One row per predicted image: the second axis of `probabilities.npy`; role is validation | test.
PREDICTED = Schema("images.csv", dict(image_id=str, patient_id=str, label=str, role=str, scanner=str,
                                      operator=str, sub_plane=str))
SCORES = Schema("scores.csv", dict(arm=str, arch=str, budget=str, replicate=int, seed=int, metric=str,
                                   value=float))
GENERATOR_HISTORY = Schema("generator history.csv", dict(images_seen=int, train_loss=float,
                                                         held_out_loss=float))
CLASSIFIER_HISTORY = Schema("classifier history.csv", dict(arm=str, seed=int, stage=int, update=int,
                                                           train_loss=float))


class Table:
    """Columns of equal length, typed by a schema: `table["label"]` is a numpy array."""

    def __init__(self, schema: Schema, columns: Mapping[str, Iterable]):
        wrong = set(columns) ^ set(schema.columns)
        if wrong:
            raise ValueError(f"{schema.name}: columns {sorted(wrong)} are surplus or missing")
        self.schema = schema
        self.columns = {name: np.asarray(list(columns[name]), dtype=_DTYPE[kind])
                        for name, kind in schema.columns.items()}
        if len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError(f"{schema.name}: columns of unequal length")

    @classmethod
    def of_rows(cls, schema: Schema, rows: Iterable[Mapping]) -> "Table":
        rows = list(rows)
        return cls(schema, {name: [row[name] for row in rows] for name in schema.columns})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def select(self, which: np.ndarray) -> "Table":
        """The rows under a boolean mask or an integer index, in its order."""
        return Table(self.schema, {name: column[which] for name, column in self.columns.items()})

    def with_columns(self, **columns: Iterable) -> "Table":
        """A copy in which the named columns are replaced."""
        return Table(self.schema, {**self.columns, **columns})

    def rows(self) -> list[dict]:
        """One plain dict per row."""
        names = list(self.columns)
        return [dict(zip(names, values)) for values in zip(*(self.columns[n].tolist() for n in names))]


_DTYPE = {str: np.str_, int: np.int64, float: np.float64}


def read_table(path: Path, schema: Schema) -> Table:
    """Read a table of our own; a missing file, wrong columns or ill-typed values raise `UserError`."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it ({schema.name}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable {schema.name} ({error}): make it anew.") from None
    if header != list(schema.columns):
        raise UserError(f"{path} has the columns {header}, a {schema.name} has {list(schema.columns)}: make it anew.")
    columns = {}
    try:
        for position, (name, kind) in enumerate(schema.columns.items()):
            columns[name] = [kind(row[position]) for row in rows]
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: column '{name}' holds a value that is no {kind.__name__} ({error}): "
                        "make it anew.") from None
    return Table(schema, columns)


def write_table(path: Path, table: Table) -> None:
    """Write a table; floats keep 17 significant digits at most (their shortest exact form)."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*(column.tolist() for column in table.columns.values())))


def read_json(path: Path) -> dict:
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON ({error}): make it anew.") from None


def write_json(path: Path, content) -> None:
    """Write sorted, indented JSON; NaN and infinities are refused (they are no JSON)."""
    text = json.dumps(content, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def cost_item(item: str, *, arch: str = "", replicate: int = 0, runs: int = 1, trained: int = 0,
              forward: int = 0) -> dict:
    """Counted work of one thing a stage did, all its runs together.

    `trained` counts images passed forward and backward, `forward` images passed forward only.
    """
    return dict(item=item, arch=arch, replicate=replicate, runs=runs, training_image_passes=trained,
                forward_image_passes=forward)


def write_cost(folder: Path, items: list[dict]) -> None:
    """Write a stage's `cost.json`; an empty list says that the profile does not use this cell."""
    write_json(Path(folder) / "cost.json", {"items": items})


def write_array(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """A memory-mapped, read-only array."""
    path = Path(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run the stage that writes it.") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run its stage again.") from None


@contextmanager
def replacing(path: Path):
    """Yields a neighbour of `path` to write to; moves it into place only if the block succeeds."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} could not be written ({error.strerror or error}): free or mend the disk, "
                        "then run the same command again.") from error
    finally:
        with suppress(OSError):  # a folder that could not be made, a disk gone: the error above says enough
            temporary.unlink(missing_ok=True)
