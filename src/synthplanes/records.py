"""Read and write the tables, arrays and JSON files on disk.

Tables are CSV files (UTF-8, comma, `\n`) with one header row; a schema names their columns and types. JSON files have
sorted keys. Every file is written under a temporary name and moved into place, so a killed process never leaves half a
file behind.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthplanes.errors import UserError


@dataclass(frozen=True)
class Schema:
    """A table's name and its columns, in order; a column is `str`, `int`, `float` or `bool`."""

    name: str
    columns: Mapping[str, type]

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Build a typed table from one mapping per row; keys beyond the schema are left out, None becomes NaN."""
        rows = list(rows)
        return self.typed({name: [row[name] for row in rows] for name in self.columns})

    def typed(self, columns: Mapping[str, Iterable]) -> pd.DataFrame:
        """Build a typed table from one sequence per column; text stays text, an empty one included."""
        return pd.DataFrame({name: pd.Series(list(columns[name]), dtype=_DTYPE[kind])
                             for name, kind in self.columns.items()})


_DTYPE = {str: "str", int: "int64", float: "float64", bool: "bool"}

# One row per image as a source lists it. `file` is what the source opens; role is train | test | fresh,
# or '' where the source knows none; scanner, operator and sub_plane are '' where unknown.
_IMAGE = dict(patient_id=str, label=str, role=str, scanner=str, operator=str, sub_plane=str)
SOURCE = Schema("source table", dict(image_id=str, file=str, **_IMAGE))
# One row per image of a packed real set, in the order of `images.npy`; sha256 is of the decoded frame.
INDEX = Schema("index.csv", dict(image_id=str, **_IMAGE, sha256=str))
# One row per synthetic image, in the order of its `images.npy`.
SYNTHETIC = Schema("synthetic index.csv", dict(
    image_id=str, label=str, scanner=str, budget=str, replicate=int, seed=int))
# The images of a budget and their side of the split: role is train | validation, in cross-validation also test.
SPLITS = Schema("splits.csv", dict(budget=str, replicate=int, image_id=str, role=str))
# One row per classifier: the first axis of `probabilities.npy` [runs, images, classes].
RUNS = Schema("runs.csv", dict(arm=str, arch=str, budget=str, replicate=int, seed=int))
# One row per predicted image: the second axis of `probabilities.npy`; role is validation | test.
PREDICTED = Schema("images.csv", dict(image_id=str, **_IMAGE))
GENERATOR_HISTORY = Schema("generator history.csv", dict(images_seen=int, train_loss=float, held_out_loss=float))
CLASSIFIER_HISTORY = Schema("classifier history.csv", dict(arm=str, seed=int, stage=int, update=int, train_loss=float))

# The result tables of a profile, in metrics/<profile>/. Estimates and limits are fractions (0.01 is one point) and NaN
# where nothing could be computed; `arch` is an architecture role or `mean`, over all of them.
SCORES = Schema("scores.csv", dict(arm=str, arch=str, budget=str, replicate=int, seed=int, metric=str, value=float))
CONTRASTS = Schema("contrasts.csv", dict(
    budget=str, contrast=str, role=str, arm=str, reference=str, arch=str, metric=str, confirmatory=bool, word=str,
    estimate=float, low=float, high=float, p_value=float, p_value_holm=float, smallest_visible_effect=float,
    equivalence_low=float, equivalence_high=float, standard_error=float, degrees_of_freedom=float,
    n_generators=int, n_seeds=int, n_images=int, n_patients=int, n_effective_patients=float,
    n_patients_scarcest=int, n_units=int, bootstrap_low=float, bootstrap_high=float, n_bootstrap=int,
    sign_flip_p=float, sign_flip_p_family=float, reason=str))
LEVELS = Schema("levels.csv", dict(budget=str, arm=str, arch=str, metric=str, estimate=float, low=float, high=float))
# `reference` is '' in the row of an arm's own score.
SLICES = Schema("slices.csv", dict(
    budget=str, slice=str, value=str, in_training=str, arm=str, reference=str, arch=str, metric=str, estimate=float,
    low=float, high=float, n_images=int, n_patients=int, why_no_number=str))
# `contrast` is '' in the rows of an arm, `arm` in those of a contrast.
COMPONENTS = Schema("components.csv", dict(
    budget=str, contrast=str, arm=str, arch=str, metric=str, component=str, standard_deviation=float,
    standard_error=float, share=float, clipped=bool, n=int))
# One row per budget, reference and architecture: what the reference gains from twice the updates on validation images,
# and the one-sided upper 95 % limit of it, which may be at most the margin.
CONVERGENCE = Schema("convergence.csv", dict(
    budget=str, reference=str, arch=str, gain=float, upper=float, margin=float, standard_error=float, met=bool,
    n_seeds=int, n_images=int, n_patients=int, absent_classes=str))
# `oracle_gain` and `share` are NaN where there is no oracle; `as_expected` is yes, no or refused.
CONTROLS = Schema("controls.csv", dict(
    budget=str, control=str, arch=str, must_gain=bool, word=str, as_expected=str, reason=str))
ORACLE_SHARES = Schema("oracle_shares.csv", dict(
    budget=str, arm=str, oracle=str, arch=str, metric=str, gain=float, oracle_gain=float, share=float))
METADATA_RULES = Schema("metadata_rules.csv", dict(
    budget=str, rule=str, metric=str, estimate=float, low=float, high=float, share_unseen=float, n_images=int,
    n_patients=int, why_no_number=str))
# One row per fold, and one named `mean` whose limits treat a fold as one observation.
FOLDS = Schema("folds.csv", dict(
    budget=str, contrast=str, arm=str, reference=str, fold=str, scanners=str, n_images=int, n_patients=int,
    n_classes=int, estimate=float, low=float, high=float, p_value=float))
# Of an arm's test images of class `actual`, the share taken for `predicted`, mean over its runs.
CONFUSION = Schema("confusion.csv", dict(budget=str, arm=str, actual=str, predicted=str, share=float))
# `label_fidelity` and `copies` (a share) are NaN at moments at which nothing was drawn.
GENERATOR_CURVE = Schema("generator_curve.csv", dict(
    budget=str, replicate=int, images_seen=int, train_loss=float, held_out_loss=float, label_fidelity=float,
    copies=float))
# One row per budget, generator and class, and one named `all` (fidelity: the mean over classes); `replicate` is a
# number or `mean`, over the generators. `ceiling` is that of real validation images; `copies` is a share, given in the
# rows `all` only.
AUDIT = Schema("audit.csv", dict(
    budget=str, replicate=str, label=str, label_fidelity=float, ceiling=float, n_images=int, copies=float))
# One row per scoring of test rows: under which analysis plan, and a digest of the predictions.
TEST_ACCESS = Schema("test_access_log.csv", dict(access=int, analysis_plan=str, predictions=str))


def read_table(path: Path, schema: Schema) -> pd.DataFrame:
    """Read a table of a schema; a missing file, wrong columns or ill-typed values raise `UserError`."""
    with _reading(path, f"not a readable {schema.name}"):
        whole = Path(path).read_bytes().decode("utf-8")
        # Only the Python engine distinguishes an absent field (NaN) from an empty one.
        text = pd.read_csv(io.StringIO(whole), dtype=str, keep_default_na=False, engine="python")
    if not whole.endswith("\n"):
        raise UserError(f"{path} ends within a row: make it anew.")
    if list(text.columns) != list(schema.columns):
        raise UserError(f"{path} has the columns {list(text.columns)}, a {schema.name} has {list(schema.columns)}: "
                        "make it anew.")
    if not isinstance(text.index, pd.RangeIndex) or text.isna().to_numpy().any():
        raise UserError(f"{path} has a row with more or fewer fields than its header: make it anew.")
    columns = {}
    for name, kind in schema.columns.items():
        try:
            columns[name] = [_PARSE[kind](value) for value in text[name].tolist()]
        except (ValueError, KeyError) as error:
            raise UserError(f"{path}: column '{name}' holds a value that is no {kind.__name__} ({error}): "
                            "make it anew.") from None
    return schema.typed(columns)


_PARSE: dict[type, Callable[[str], Any]] = {
    str: str, int: int, float: lambda text: float(text or "nan"), bool: {"True": True, "False": False}.__getitem__}


def write_table(path: Path, table: pd.DataFrame, schema: Schema) -> None:
    """Write a table; floats keep their shortest exact form, NaN is empty."""
    if surplus := set(table.columns) ^ set(schema.columns):
        raise ValueError(f"{schema.name}: columns {sorted(surplus)} are surplus or missing")
    with replacing(path) as temporary:
        table[list(schema.columns)].to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one raises `UserError`."""
    with _reading(path, "not readable JSON"):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON; NaN and infinities, which JSON lacks, raise `ValueError`."""
    text = json.dumps(content, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def cost_item(item: str, *, budget: str = "", arch: str = "", runs: int = 1, trained: int = 0,
              forward: int = 0) -> dict:
    """Return the work of an item over all runs: images passed forward and backward (`trained`), or only forward."""
    return dict(item=item, budget=budget, arch=arch, runs=runs, training_image_passes=trained,
                forward_image_passes=forward)


def write_cost(folder: Path, items: list[dict]) -> None:
    """Write a stage's `cost.json`."""
    write_json(Path(folder) / "cost.json", {"items": items})


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as `.npy`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """Open a memory-mapped, read-only array; a missing or damaged file raises `UserError`."""
    with _reading(path, "damaged"):
        return np.load(path, mmap_mode="r", allow_pickle=False)


@contextmanager
def _reading(path: Path, fault: str) -> Iterator[None]:
    """Turn the failure to read a file into a `UserError`; `fault` is what a file with wrong content is."""
    try:
        yield
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise UserError(f"{path} {what}: run the stage that writes it.") from None
    except (ValueError, EOFError) as error:  # parsers of CSV, JSON and UTF-8 raise subclasses of ValueError
        raise UserError(f"{path} is {fault} ({error}): delete it and run its stage again.") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a neighbour of `path` to write to; move it into place only if the block succeeds."""
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
        with suppress(OSError):  # such as a folder that could not be made: the error above says enough
            temporary.unlink(missing_ok=True)


def sha256(*contents: Any) -> str:
    """Hash files and folders (`Path`: names and bytes count), arrays and JSON values, in their order: 64 digits."""
    hasher = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            files = sorted(path for path in content.rglob("*") if path.is_file()) if content.is_dir() else [content]
            for file in files:
                hasher.update(b"file" + file.relative_to(content).as_posix().encode() + b"\0")
                with _reading(file, "damaged"), file.open("rb") as opened:
                    while block := opened.read(1 << 20):
                        hasher.update(block)
        elif isinstance(content, np.ndarray):
            hasher.update(f"array{content.dtype}{content.shape}".encode() + b"\0")
            hasher.update(np.ascontiguousarray(content).tobytes())
        else:
            hasher.update(b"json" + json.dumps(content, sort_keys=True).encode() + b"\0")
    return hasher.hexdigest()
