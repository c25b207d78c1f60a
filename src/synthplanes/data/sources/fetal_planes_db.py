"""Open FETAL_PLANES_DB (Burgos-Artizzu et al. 2020): the official table with its published split, checked on load.

Several public descriptions state wrong counts; those below are computed from the official table itself.
"""

from pathlib import Path

from synthplanes import records
from synthplanes.data.sources.listed_files import ListedFiles, find_root, plain_name
from synthplanes.data.sources.published_tables import check_counts, read_published

NAME = "fetal_planes_db"
CSV_NAME = "FETAL_PLANES_DB_data.csv"
CLASSES = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax", "Maternal cervix", "Other")

# (train images, test images, train patients, test patients)
TOTAL = (7129, 5271, 896, 896)
COUNTS = {
    "Other": (2601, 1612, 387, 347),
    "Fetal brain": (1620, 1472, 536, 546),
    "Fetal thorax": (1058, 660, 443, 312),
    "Maternal cervix": (981, 645, 499, 418),
    "Fetal femur": (516, 524, 370, 384),
    "Fetal abdomen": (353, 358, 292, 303),
}
BRAIN_COUNTS = {
    "Trans-thalamic": (873, 765),
    "Trans-cerebellum": (375, 339),
    "Trans-ventricular": (295, 302),
    "Other": (77, 66),
}
S10 = "Voluson S10"  # this scanner is rare in training
S10_COUNTS = (11, 1071, 1, 90)
S10_OTHER = (0, 542)  # its images of class Other

_COLUMNS = ("Image_name", "Patient_num", "Plane", "Brain_plane", "Operator", "US_Machine", "Train")
_NOT_BRAIN = "Not A Brain"


def open_fetal_planes_db(raw: Path, official: bool = True) -> ListedFiles:
    """Open the data set in the folder `raw` (the unpacked zip); the table keeps its order, by patient and label.

    With `official` the table must be the complete published one, with all published counts; otherwise any table in the
    same layout is accepted, such as that of a simulated set.
    """
    root = find_root(raw, CSV_NAME, f"run `synthplanes fetch {NAME} --profile PROFILE`, or with --from where the files "
                                    "lie already")
    path = root / CSV_NAME
    table = records.SOURCE.frame(
        dict(image_id=row["Image_name"],
             file=f"Images/{plain_name(path, row['Image_name'])}.png",
             patient_id=row["Patient_num"], label=row["Plane"], role=row["role"], scanner=row["US_Machine"],
             operator=row["Operator"], sub_plane="" if row["Brain_plane"] == _NOT_BRAIN else row["Brain_plane"])
        for row in read_published(path, _COLUMNS))
    if official:
        label, s10 = table["label"], table["scanner"] == S10
        check_counts(table, path, [
            ("all classes", slice(None), TOTAL),
            *((name, label == name, counts) for name, counts in COUNTS.items()),
            *((f"brain sub-plane {name}", (label == "Fetal brain") & (table["sub_plane"] == name), counts)
              for name, counts in BRAIN_COUNTS.items()),
            (f"scanner {S10}", s10, S10_COUNTS),
            (f"scanner {S10}, class Other", s10 & (label == "Other"), S10_OTHER)])
    return ListedFiles(NAME, CLASSES, table, root)
