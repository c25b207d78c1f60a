"""Write the phantom to disk in the layout of FETAL_PLANES_DB: its names, table, quirks and sizes."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

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
# Width, height, share. The commonest true sizes are 959x661, 1137x787 and 640x392; smaller ones of the same
# proportions keep thousands of files quick to write and to read.
SIZES = ((640, 392, .04), (480, 331, .06), (320, 196, .35), (240, 166, .35), (192, 130, .20))
RGBA_SHARE = 0.03


@dataclass(frozen=True)
class _File:
    """One image file: its name without extension, its size in pixels, and whether it has colours and alpha."""

    name: str
    width: int
    height: int
    rgba: bool


def write_official_layout(folder: Path, settings: Simulate, root_seed: int, workers: int = 1) -> int:
    """Write `Images/*.png` and `FETAL_PLANES_DB_data.csv` into a new or empty folder; return the number of images.

    The table has `;` between fields, names without extension and a trailing space in the last header and its values.
    Images are 8-bit grey, a few RGBA, not square, of various sizes. Fresh patients, for which the layout has no column,
    are left out.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder: name a new one for the official layout.")
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    patients = draw_patients(settings.model_copy(update={"fresh_images": 0}), root_seed)
    rows, jobs = [], []
    for number, patient in enumerate(patients, start=1):
        rng = seeds.generator(root_seed, "phantom layout", number)
        counts, ordinals = Counter(view.label for view in patient.views), Counter[str]()
        files = []
        for view in patient.views:
            ordinals[view.label] += 1
            name = (f"Patient{number:05d}_Plane{PLANE_DIGIT[view.label]}_{ordinals[view.label]}_of_"
                    f"{counts[view.label]}")
            width, height, _ = SIZES[rng.choice(len(SIZES), p=[share for _, _, share in SIZES])]
            files.append(_File(name, width, height, bool(rng.random() < RGBA_SHARE)))
            brain_plane = view.sub_plane if view.label == "Fetal brain" else "Not A Brain"
            rows.append((name, number, view.label, brain_plane, patient.operator, patient.scanner,
                         "1 " if patient.role == "train" else "0 "))
        jobs.append(delayed(_write_patient)(settings, root_seed, patient, files, folder / "Images"))
    progress, done = Progress("phantom layout", len(rows), "images"), 0
    for written in Parallel(n_jobs=workers, return_as="generator")(jobs):
        done += written
        progress(done)
    with records.replacing(folder / "FETAL_PLANES_DB_data.csv") as path, path.open("w", newline="") as table:
        writer = csv.writer(table, delimiter=";", lineterminator="\r\n")
        writer.writerow(HEADER)
        writer.writerows(sorted(rows))
    return len(rows)


def _write_patient(settings: Simulate, root_seed: int, patient: population.Patient, files: list[_File],
                   folder: Path) -> int:
    """Render at the phantom's own size, cut the padding off, enlarge to the size of the file."""
    frames, _ = render_patient(settings, root_seed, patient, [file.width / file.height for file in files])
    for frame, file in zip(frames, files, strict=True):
        side = frame.shape[0]
        rows = max(2, round(side * file.height / file.width))
        above = (side - rows) // 2
        picture = Image.fromarray(frame[above:above + rows])
        picture = picture.resize((file.width, file.height), Image.Resampling.BILINEAR)
        if file.rgba:
            picture = picture.convert("RGBA")
        picture.save(folder / f"{file.name}.png", compress_level=1)
    return len(files)
