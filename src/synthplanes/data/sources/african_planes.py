"""Open the African planes (Sendra-Balcells et al. 2023): 450 images, four classes, five centres, its published split.

Patient numbers repeat across centres, so a patient is (centre, number). The centre stands in the column `scanner`: the
table names no machine, and the centre is what an image shares with its machine and its staff.
"""

from pathlib import Path

from synthplanes import records
from synthplanes.data.sources.listed_files import ListedFiles, find_root, plain_name
from synthplanes.data.sources.published_tables import check_counts, read_published

NAME = "african_planes"
CSV_NAME = "African_planes.csv"
CLASSES = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax")

# (train images, test images, train patients, test patients)
TOTAL = (217, 233, 61, 66)
COUNTS = {"Fetal abdomen": (60, 65), "Fetal brain": (60, 65), "Fetal femur": (61, 64), "Fetal thorax": (36, 39)}
CENTRES = {"Algeria": (48, 52), "Egypt": (48, 52), "Malawi": (49, 51), "Ghana": (36, 39), "Uganda": (36, 39)}

_COLUMNS = ("Patient_num", "Plane", "Train", "Center", "Image_name")


def open_african_planes(raw: Path, official: bool = True) -> ListedFiles:
    """Open the data set in the folder `raw`; with `official` its table must be the complete published one."""
    root = find_root(raw, CSV_NAME, f"run `synthplanes fetch {NAME} --profile PROFILE --from FOLDER`")
    path = root / CSV_NAME
    table = records.SOURCE.frame(
        dict(image_id=row["Image_name"],
             file=f"Images/{plain_name(path, row['Image_name'])}.png",
             patient_id=f"{row['Center']}-{row['Patient_num']}",
             label=row["Plane"], role=row["role"], scanner=row["Center"], operator="", sub_plane="")
        for row in read_published(path, _COLUMNS))
    if official:
        check_counts(table, path, [
            *((label, table["label"] == label, counts) for label, counts in COUNTS.items()),
            *((centre, table["scanner"] == centre, counts) for centre, counts in CENTRES.items()),
            ("all classes", slice(None), TOTAL)])
    return ListedFiles(NAME, CLASSES, table, root)
