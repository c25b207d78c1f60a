"""The phantom written to disk exactly as FETAL_PLANES_DB comes: names, table, quirks, sizes."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from synthplanes import records, seeds
from synthplanes.phantom.simulation import Phantom, plan, render_patient
from synthplanes.errors import UserError

HEADER = ("Image_name", "Patient_num", "Plane", "Brain_plane", "Operator", "US_Machine", "Train ")
PLANE_DIGIT = {"Other": 1, "Fetal abdomen": 2, "Fetal brain": 3, "Maternal cervix": 4, "Fetal femur": 5,
               "Fetal thorax": 6}
# width, height, share; the commonest true sizes are 959x661, 1137x787 and 640x392. The smaller ones of the
# same proportions keep thousands of files quick to write and to read.
SIZES = ((640, 392, .04), (480, 331, .06), (320, 196, .35), (240, 166, .35), (192, 130, .20))
RGBA_SHARE = 0.03


@dataclass(frozen=True)
class _File:
    name: str
    width: int
    height: int
    rgba: bool


def write_official_layout(settings: Phantom, folder: Path,
                          progress: Callable[[int, int], None] | None = None) -> int:
    """Write `Images/*.png` and `FETAL_PLANES_DB_data.csv` into a new or empty folder; returns the count.

    The table has `;` between fields, names without extension and a trailing space in the last header and its
    values. Images are 8-bit grey, a few RGBA, not square, of mixed sizes. Fresh patients have no place
    in that layout: settings with `fresh_images` are refused. progress(done, total) is called per patient.
    """
    folder = Path(folder)
    if settings.fresh_images:
        raise UserError("The official layout knows train and test only: set phantom.fresh_images to 0.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder: name a new one for the official layout.")
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    people = plan(settings)
    total, done, rows, jobs = sum(len(p.planned) for p in people), 0, [], []
    for number, patient in enumerate(people, start=1):
        rng = seeds.generator(settings.root_seed, "phantom layout", number)
        counts, seen, files = Counter(label for label, _, _ in patient.planned), Counter(), []
        for label, _, sub_plane in patient.planned:
            seen[label] += 1
            name = f"Patient{number:05d}_Plane{PLANE_DIGIT[label]}_{seen[label]}_of_{counts[label]}"
            width, height, _ = SIZES[rng.choice(len(SIZES), p=[share for _, _, share in SIZES])]
            files.append(_File(name, width, height, bool(rng.random() < RGBA_SHARE)))
            brain_plane = sub_plane if label == "Fetal brain" else "Not A Brain"
            rows.append((name, number, label, brain_plane, patient.operator, patient.scanner,
                         "1 " if patient.role == "train" else "0 "))
        jobs.append(delayed(_write_patient)(settings, patient, files, folder / "Images"))
    for written in Parallel(n_jobs=settings.workers, return_as="generator")(jobs):
        done += written
        if progress is not None:
            progress(done, total)
    with records.replacing(folder / "FETAL_PLANES_DB_data.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(HEADER)
        writer.writerows(sorted(rows))
    return total


def _write_patient(settings: Phantom, patient, files: list[_File], folder: Path) -> int:
    """Render at the phantom's own size, cut the padding off, enlarge to the file's size."""
    frames, _ = render_patient(settings, patient, [file.width / file.height for file in files])
    for frame, file in zip(frames, files):
        side = frame.shape[0]
        rows = max(2, round(side * file.height / file.width))
        above = (side - rows) // 2
        picture = Image.fromarray(np.ascontiguousarray(frame[above:above + rows]))
        picture = picture.resize((file.width, file.height), Image.Resampling.BILINEAR)
        if file.rgba:
            picture = picture.convert("RGBA")
        picture.save(folder / f"{file.name}.png", compress_level=1)
    return len(files)
