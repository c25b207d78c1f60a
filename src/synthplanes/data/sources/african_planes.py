"""African planes (Sendra-Balcells et al. 2023): 450 images, four classes, five centres, its published split.

Patient numbers repeat across centres, so a patient is (centre, number). The centre stands in the column
`scanner`: the table names no machine, and the centre is what an image shares with its machine and its staff.
"""

from pathlib import Path

from synthplanes import records
from synthplanes.data.sources.listed_files import ListedFiles, find_root, plain_name, read_rows
from synthplanes.errors import UserError

NAME = "african_planes"
CSV_NAME = "African_planes.csv"
CLASSES = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax")

# label: (train images, test images)
COUNTS = {
    "Fetal abdomen": (60, 65),
    "Fetal brain": (60, 65),
    "Fetal femur": (61, 64),
    "Fetal thorax": (36, 39),
}
CENTRES = {"Algeria": 100, "Egypt": 100, "Malawi": 100, "Ghana": 75, "Uganda": 75}

_COLUMNS = ("Patient_num", "Plane", "Train", "Center", "Image_name")


def open_african_planes(raw: Path, official: bool = True) -> ListedFiles:
    """The data set in folder `raw`; with `official` the table must be the complete published one."""
    root = find_root(raw, CSV_NAME, f"run `synthplanes fetch {NAME} --profile PROFILE --from FOLDER`")
    path = root / CSV_NAME
    rows = read_rows(path, _COLUMNS)
    for row in rows:
        if row["Train"] not in ("0", "1"):
            raise UserError(f"{path}: Train of {row['Image_name']} is '{row['Train']}', not 0 or 1: fetch "
                            "the table again.")
    table = records.Table.of_rows(records.SOURCE, [
        dict(image_id=row["Image_name"],
             file=f"Images/{plain_name(path, row['Image_name'])}.png",
             patient_id=f"{row['Center']}-{row['Patient_num']}",
             label=row["Plane"],
             role="train" if row["Train"] == "1" else "test",
             scanner=row["Center"], operator="", sub_plane="")
        for row in rows])
    if official:
        _check_counts(table, path)
    return ListedFiles(NAME, CLASSES, table, root)


def _check_counts(table: records.Table, path: Path) -> None:
    label, role = table["label"], table["role"]
    for name, expected in COUNTS.items():
        found = tuple(int(((label == name) & (role == side)).sum()) for side in ("train", "test"))
        if found != expected:
            raise UserError(f"{path} is not the complete official table: {name} has {found[0]} + {found[1]} "
                            f"images where the published one has {expected[0]} + {expected[1]}; fetch it "
                            "again, or declare the table unofficial.")
    for name, count in CENTRES.items():
        if (table["scanner"] == name).sum() != count:
            raise UserError(f"{path} is not the complete official table: {name} has "
                            f"{(table['scanner'] == name).sum()} images instead of {count}; fetch it again, "
                            "or declare the table unofficial.")
    if len(table) != sum(CENTRES.values()):
        raise UserError(f"{path} is not the official table: {len(table)} rows instead of "
                        f"{sum(CENTRES.values())}; fetch it again, or declare the table unofficial.")
