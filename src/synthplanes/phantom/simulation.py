"""Simulate the phantom: draw its patients, render every frame with a generator of its own, and record the latents."""

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from synthplanes import seeds
from synthplanes.phantom import population
from synthplanes.phantom.frame import render
from synthplanes.progress import Progress
from synthplanes.protocol.config import Simulate
from synthplanes.records import SOURCE, Schema

VERSION = "1"
# One row per frame, in the order of the frames. true_plane: the class before label noise; kind: what is drawn
# (a standard plane, `oblique <plane>` or a kind of Other); off_plane in [0, 1], label Other above .5;
# cue in [0, 1]: how much of the defining structures is left; cues: names of those visible, joined by '+';
# pose_deg: rotation in the image; size_cm: half the object's long axis; depth_cm: of the sector.
LATENTS = Schema("phantom latents", dict(
    image_id=str, true_plane=str, kind=str, off_plane=float, cue=float, cues=str, weeks=float, size_cm=float,
    pose_deg=float, depth_cm=float, gain_db=float, magnified=int))


def draw_patients(settings: Simulate, root_seed: int) -> list[population.Patient]:
    """Draw every patient with labels and scanner, in the order train, test, fresh; no frame is rendered yet."""
    return [*population.patients(root_seed, "train", settings.train_patients),
            *population.patients(root_seed, "test", settings.test_patients),
            *population.patients(root_seed, "fresh", None, settings.fresh_images)]


def simulate(settings: Simulate, root_seed: int, workers: int = 1) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Simulate frames uint8 [N, S, S], their table (`records.SOURCE`) and latents (LATENTS), all in the same order.

    The column `file` holds the row number in the frames, as text. `workers` is the number of processes, which changes
    no output.
    """
    patients = draw_patients(settings, root_seed)
    shown = [(number, patient, view) for number, patient in enumerate(patients) for view in patient.views]
    table = SOURCE.frame(
        dict(image_id=f"t{row:06d}", file=str(row), patient_id=f"p{number:05d}", label=view.label, role=patient.role,
             scanner=patient.scanner, operator=patient.operator,
             sub_plane=view.sub_plane if view.label == "Fetal brain" else "")
        for row, (number, patient, view) in enumerate(shown))
    frames = np.zeros((len(shown), settings.frame_size, settings.frame_size), np.uint8)
    details: list[dict] = []
    progress = Progress("phantom", len(shown), "images")
    for images, described in Parallel(n_jobs=workers, return_as="generator", batch_size=4)(
            delayed(render_patient)(settings, root_seed, patient) for patient in patients):
        frames[len(details):len(details) + len(images)] = images
        details += described
        progress(len(details))
    planes = [view.plane for _, _, view in shown]
    return frames, table, LATENTS.typed(pd.DataFrame(details).assign(image_id=table["image_id"], true_plane=planes))


def render_patient(settings: Simulate, root_seed: int, patient: population.Patient,
                   aspects: list[float] | None = None) -> tuple[np.ndarray, list[dict]]:
    """Render all frames of one patient; its anatomy and each frame have random generators of their own.

    `aspects` are the width / height of each frame's display; None takes those of the scanner.
    """
    rng = seeds.generator(root_seed, "phantom anatomy", patient.role, patient.number)
    fetus = population.Fetus(rng, spread=1.0 if settings.difficulty == "default" else 1.4)
    rendered = []
    for number, view in enumerate(patient.views):
        rng = seeds.generator(root_seed, "phantom frame", patient.role, patient.number, number)
        rendered.append(render(rng, fetus, patient, view, settings, aspects[number] if aspects else None))
    return np.stack([image for image, _ in rendered]), [detail for _, detail in rendered]
