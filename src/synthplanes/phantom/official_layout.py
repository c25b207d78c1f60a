"""Write the phantom to disk in the layout of FETAL_PLANES_DB: its names, table, quirks and sizes."""

from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from PIL import Image

from synthplanes import records, seeds
from synthplanes.errors import UserError
from synthplanes.phantom import population
from synthplanes.phantom.simulation import draw_patients, render_patient
from synthplanes.progress import Progress
from synthplanes.protocol.config import Simulate

HEADER = ("Image_name", "Patient_num", "Plane", "Brain_plane", "Operator", "US_Machine", "Train ")
PLANE_DIGIT = {"Other": 1, "Fetal abdomen": 2, "Fetal brain": 3, "Maternal cervix": 4, "Fetal femur": 5,
               "Fetal thorax": 6}
# Width and height. The commonest true sizes are 959x661, 1137x787 and 640x392; smaller ones of the same
# proportions keep thousands of files quick to write and to read.
SIZES = ((640, 392), (480, 331), (320, 196), (240, 166), (192, 130))
SIZE_SHARES = (.04, .06, .35, .35, .20)
RGBA_SHARE = 0.03


def write_official_layout(folder: Path, settings: Simulate, root_seed: int, workers: int = 1) -> int:
    """Write `Images/*.png` and `FETAL_PLANES_DB_data.csv` into a new or empty folder; return the number of images.

    The table has `;` between fields, names without extension and a trailing space in the last header and its values.
    Images are 8-bit grey, a few RGBA, not square, of various sizes. Fresh patients, for which the layout has no column,
    are left out.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder: name a new one for the official layout.")
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    patients = draw_patients(settings.model_copy(update={"fresh_images": 0}), root_seed)
    progress = Progress("phantom layout", sum(len(patient.views) for patient in patients), "images")
    rows: list[tuple] = []
    for written in Parallel(n_jobs=workers, return_as="generator")(
            delayed(_write_patient)(settings, root_seed, number, patient, folder / "Images")
            for number, patient in enumerate(patients, start=1)):
        rows += written
        progress(len(rows))
    with records.replacing(folder / "FETAL_PLANES_DB_data.csv") as path:
        pd.DataFrame(sorted(rows), columns=HEADER).to_csv(path, sep=";", index=False, lineterminator="\r\n")
    return len(rows)


def _write_patient(settings: Simulate, root_seed: int, number: int, patient: population.Patient, folder: Path
                   ) -> list[tuple]:
    """Write a patient's images, and return their rows of the table.

    Images are rendered at the phantom's own size, their padding is cut off, and they are enlarged to a size of SIZES.
    """
    rng = seeds.generator(root_seed, "phantom layout", number)
    drawn = [(SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)], rng.random() < RGBA_SHARE) for _ in patient.views]
    frames, _ = render_patient(settings, root_seed, patient, [width / height for (width, height), _ in drawn])
    labels, rows = [view.label for view in patient.views], []
    for place, (view, frame, ((width, height), rgba)) in enumerate(zip(patient.views, frames, drawn, strict=True)):
        kept = max(2, round(settings.frame_size * height / width))
        above = (settings.frame_size - kept) // 2
        picture = Image.fromarray(frame[above:above + kept]).resize((width, height), Image.Resampling.BILINEAR)
        name = (f"Patient{number:05d}_Plane{PLANE_DIGIT[view.label]}_{labels[:place + 1].count(view.label)}_of_"
                f"{labels.count(view.label)}")
        (picture.convert("RGBA") if rgba else picture).save(folder / f"{name}.png", compress_level=1)
        rows.append((name, number, view.label, view.sub_plane if view.label == "Fetal brain" else "Not A Brain",
                     patient.operator, patient.scanner, "1 " if patient.role == "train" else "0 "))
    return rows
