"""FETAL_PLANES_DB (Burgos-Artizzu et al. 2020): the official table with its published split, checked on load.

Several public descriptions state wrong counts; those below were computed from the official table itself.
"""

from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.data.sources.listed_files import ListedFiles, find_root, plain_name, read_rows
from synthplanes.errors import UserError

NAME = "fetal_planes_db"
CSV_NAME = "FETAL_PLANES_DB_data.csv"
CLASSES = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax", "Maternal cervix", "Other")

# label: (train images, test images, train patients, test patients)
COUNTS = {
    "Other": (2601, 1612, 387, 347),
    "Fetal brain": (1620, 1472, 536, 546),
    "Fetal thorax": (1058, 660, 443, 312),
    "Maternal cervix": (981, 645, 499, 418),
    "Fetal femur": (516, 524, 370, 384),
    "Fetal abdomen": (353, 358, 292, 303),
}
TOTAL = (7129, 5271, 896, 896)
# sub-plane of the brain: (train images, test images)
BRAIN_COUNTS = {
    "Trans-thalamic": (873, 765),
    "Trans-cerebellum": (375, 339),
    "Trans-ventricular": (295, 302),
    "Other": (77, 66),
}
# The scanner that hardly occurs in training: (train images, test images, train patients, test patients),
# and its images of class Other.
S10 = "Voluson S10"
S10_COUNTS = (11, 1071, 1, 90)
S10_OTHER = (0, 542)

_COLUMNS = ("Image_name", "Patient_num", "Plane", "Brain_plane", "Operator", "US_Machine", "Train")
_NOT_BRAIN = "Not A Brain"


def open_fetal_planes_db(raw: Path, official: bool = True) -> ListedFiles:
    """The data set in folder `raw` (the unpacked zip).

    With `official` the table must be the complete published one, every count of it; without, any table in the
    same layout is taken (a simulated set written to disk, say).
    """
    root = find_root(raw, CSV_NAME, f"run `synthplanes fetch {NAME} --profile PROFILE`, or with --from where the files lie "
                                    "already")
    table = read_official_table(root / CSV_NAME)
    if official:
        check_counts(table, root / CSV_NAME)
    return ListedFiles(NAME, CLASSES, table, root)


def read_official_table(path: Path) -> records.Table:
    """The table (records.SOURCE) in its own order, which is sorted by patient and label."""
    rows = read_rows(path, _COLUMNS)
    for row in rows:
        if row["Train"] not in ("0", "1"):
            raise UserError(f"{path}: Train of {row['Image_name']} is '{row['Train']}', not 0 or 1: fetch "
                            "the table again.")
    return records.Table.of_rows(records.SOURCE, [
        dict(image_id=row["Image_name"],
             file=f"Images/{plain_name(path, row['Image_name'])}.png",
             patient_id=row["Patient_num"],
             label=row["Plane"],
             role="train" if row["Train"] == "1" else "test",
             scanner=row["US_Machine"],
             operator=row["Operator"],
             sub_plane="" if row["Brain_plane"] == _NOT_BRAIN else row["Brain_plane"])
        for row in rows])


def check_counts(table: records.Table, path: Path) -> None:
    """Compare the complete table with the published one; the first difference raises `UserError`."""
    everything = np.ones(len(table), dtype=bool)
    other = table["label"] == "Other"
    s10 = table["scanner"] == S10
    expected = [("all classes", everything, TOTAL)]
    expected += [(label, table["label"] == label, counts) for label, counts in COUNTS.items()]
    brain = table["label"] == "Fetal brain"
    expected += [(f"brain sub-plane {name}", brain & (table["sub_plane"] == name), counts)
                 for name, counts in BRAIN_COUNTS.items()]
    expected += [(f"scanner {S10}", s10, S10_COUNTS), (f"scanner {S10}, class Other", s10 & other, S10_OTHER)]
    for what, rows, counts in expected:
        found = _counts(table, rows)[:len(counts)]
        if found != counts:
            raise UserError(f"{path} is not the complete official table: {what} has {_words(found)} where "
                            f"the published one has {_words(counts)}; fetch it again, or declare the table "
                            "unofficial.")
    both = np.intersect1d(*(table["patient_id"][table["role"] == role] for role in ("train", "test")))
    if len(both):
        raise UserError(f"{path} is not the official table: patient {both[0]} is in train and in test; fetch "
                        "it again.")


def _counts(table: records.Table, rows: np.ndarray) -> tuple[int, ...]:
    """(train images, test images, train patients, test patients) among the rows under a mask."""
    sides = [rows & (table["role"] == role) for role in ("train", "test")]
    return (*(int(side.sum()) for side in sides),
            *(len(np.unique(table["patient_id"][side])) for side in sides))


def _words(counts: tuple[int, ...]) -> str:
    words = f"{counts[0]} + {counts[1]} images"
    return words + (f" of {counts[2]} + {counts[3]} patients" if len(counts) == 4 else "")
