"""The two published data sets: what their publishers offer, and their tables with the published split, checked on load.

Several public descriptions of FETAL_PLANES_DB state wrong counts; those below are computed from the official table. The
table of the African planes names no machine: the centre, which an image shares with its machine and its staff, stands
in the column `scanner`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthplanes import records
from synthplanes.data import identity
from synthplanes.data.sources.csv_rows import read_rows
from synthplanes.data.sources.listed_files import ListedFiles, find_root, on_disk, plain_name
from synthplanes.errors import UserError


@dataclass(frozen=True)
class Archive:
    """One zip file with all of a data set."""

    url: str
    bytes: int
    md5: str


@dataclass(frozen=True)
class Publication:
    """A data set as its publisher offers it."""

    title: str
    record: str  # the page that offers the files
    doi: str
    licence: str
    citation: str
    archive: Archive | None  # None where its address, size and MD5 are not known here
    csv_name: str
    columns: dict[str, str]  # of the published table: the column of `records.SOURCE`
    classes: tuple[str, ...]
    # What is counted, its rows (column: value), and (train images, test images) or (train images, test images, train
    # patients, test patients).
    counts: tuple[tuple[str, dict[str, str], tuple[int, ...]], ...]
    numbered_by_scanner: bool = False  # patient numbers repeat, so that a patient is a scanner (or centre) and a number


PUBLICATIONS = {
    "fetal_planes_db": Publication(
        title="FETAL_PLANES_DB: common maternal-fetal ultrasound images, version 1.0",
        record="https://zenodo.org/records/3904280",
        doi="10.5281/zenodo.3904280",
        licence="CC BY 4.0",
        citation="Burgos-Artizzu et al., Sci Rep 10, 10200 (2020)",
        archive=Archive("https://zenodo.org/records/3904280/files/FETAL_PLANES_ZENODO.zip?download=1",
                        2_088_522_169, "2a5fcc2cefb789bcc0f6c1f73e0ea43f"),
        csv_name="FETAL_PLANES_DB_data.csv",
        columns=dict(Image_name="image_id", Patient_num="patient_id", Plane="label", Brain_plane="sub_plane",
                     Operator="operator", US_Machine="scanner", Train="role"),
        classes=("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax", "Maternal cervix", "Other"),
        counts=(
            ("all classes", {}, (7129, 5271, 896, 896)),
            *((name, {"label": name}, counts) for name, counts in (
                ("Other", (2601, 1612, 387, 347)), ("Fetal brain", (1620, 1472, 536, 546)),
                ("Fetal thorax", (1058, 660, 443, 312)), ("Maternal cervix", (981, 645, 499, 418)),
                ("Fetal femur", (516, 524, 370, 384)), ("Fetal abdomen", (353, 358, 292, 303)))),
            *((f"brain sub-plane {name}", {"label": "Fetal brain", "sub_plane": name}, counts) for name, counts in (
                ("Trans-thalamic", (873, 765)), ("Trans-cerebellum", (375, 339)),
                ("Trans-ventricular", (295, 302)), ("Other", (77, 66)))),
            # This scanner is rare in training.
            ("scanner Voluson S10", {"scanner": "Voluson S10"}, (11, 1071, 1, 90)),
            ("scanner Voluson S10, class Other", {"scanner": "Voluson S10", "label": "Other"}, (0, 542)))),
    "african_planes": Publication(
        title="Maternal fetal ultrasound planes from low-resource imaging settings in five African countries",
        record="https://zenodo.org/records/7540448",
        doi="10.5281/zenodo.7540448",
        licence="CC BY 4.0",
        citation="Sendra-Balcells et al., Sci Rep 13, 2728 (2023)",
        archive=None,
        csv_name="African_planes.csv",
        columns=dict(Patient_num="patient_id", Plane="label", Train="role", Center="scanner", Image_name="image_id"),
        classes=("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax"),
        counts=(
            *((name, {"label": name}, counts) for name, counts in (
                ("Fetal abdomen", (60, 65)), ("Fetal brain", (60, 65)), ("Fetal femur", (61, 64)),
                ("Fetal thorax", (36, 39)))),
            *((name, {"scanner": name}, counts) for name, counts in (
                ("Algeria", (48, 52)), ("Egypt", (48, 52)), ("Malawi", (49, 51)), ("Ghana", (36, 39)),
                ("Uganda", (36, 39)))),
            ("all classes", {}, (217, 233, 61, 66))),
        numbered_by_scanner=True),
}
_ROLES = {"1": "train", "0": "test"}


def open_published(name: str, raw: Path, official: bool = True, merge_spellings: bool = False) -> ListedFiles:
    """Open the published set `name` in the folder `raw` (the unpacked zip); the table keeps its order.

    With `official` it must have all published counts; otherwise any table in the same layout is accepted. Two spellings
    of one name raise `UserError`, or are merged with `merge_spellings` (see `identity.settled`).
    """
    publication = PUBLICATIONS[name]
    options = "`, or with --from where the files lie already" if publication.archive else " --from FOLDER`"
    root = find_root(raw, publication.csv_name, f"run `synthplanes fetch {name} --profile PROFILE{options}")
    path = root / publication.csv_name
    table = read_rows(path, tuple(publication.columns)).rename(columns=publication.columns)
    table = identity.settled(table, str(path), merge_spellings)
    roles, notes = table["role"].map(identity.canonical), table.attrs["notes"]
    wrong = table[~roles.isin(_ROLES)]
    if len(wrong):
        raise UserError(f"{path}: Train of {wrong['image_id'].iloc[0]} is '{wrong['role'].iloc[0]}', not 0 or 1: fetch "
                        "the table again.")
    files = [f"Images/{plain_name(path, name).removesuffix('.png')}.png" for name in table["image_id"]]
    table = table.assign(file=on_disk(root, files, notes), role=roles.map(_ROLES))
    table = records.SOURCE.typed(table.reindex(columns=list(records.SOURCE.columns), fill_value=""))
    table["sub_plane"] = table["sub_plane"].replace("Not A Brain", "")
    if publication.numbered_by_scanner:
        if nowhere := int((table["scanner"] == "").sum()):
            raise UserError(f"{path}: {nowhere:,} images have no Center, without which a patient number is nobody: "
                            "fill it in.")
        table["patient_id"] = table["scanner"] + "-" + table["patient_id"]
    table.attrs["notes"] = notes
    if official:
        _check_counts(table, path, publication)
    return ListedFiles(name, publication.classes, table, root)


def _check_counts(table: pd.DataFrame, path: Path, publication: Publication) -> None:
    """Compare a table with its published counts; a patient in train and in test is a difference, too."""
    for what, where, published in publication.counts:
        rows = table
        for column, value in where.items():
            rows = rows[rows[column] == value]
        sides = [rows["patient_id"][rows["role"] == role] for role in _ROLES.values()]
        counts = (*map(len, sides), *(side.nunique() for side in sides))[:len(published)]
        if counts != published:
            raise UserError(f"{path} is not the complete official table: {what} has {_in_words(counts)} where the "
                            f"published one has {_in_words(published)}: fetch it again, or set official to false in "
                            "prepare.source_options.")
    on_both = np.intersect1d(*(table["patient_id"][table["role"] == role] for role in _ROLES.values()))
    if len(on_both):
        raise UserError(f"{path} is not the official table: patient {on_both[0]} is in train and in test: fetch "
                        "it again.")


def _in_words(counts: tuple[int, ...]) -> str:
    words = f"{counts[0]} + {counts[1]} images"
    return words + (f" of {counts[2]} + {counts[3]} patients" if len(counts) == 4 else "")
