"""The phantom's run: plan the patients, render every frame with its own generator, write down the latents."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from synthplanes import seeds
from synthplanes.phantom import population
from synthplanes.phantom.frame import render
from synthplanes.errors import UserError
from synthplanes.records import SOURCE, Schema, Table

VERSION = "1"
DIFFICULTIES = ("default", "hard")
# One row per frame, in the order of the frames. true_plane: the class before label noise; kind: what is drawn
# (a standard plane, `oblique <plane>` or a kind of Other); off_plane in [0, 1], label Other above .5;
# cue in [0, 1]: how much of the defining structures is left; cues: names of those visible, joined by '+';
# pose_deg: rotation in the image; size_cm: half the object's long axis; depth_cm: of the sector.
LATENTS = Schema("phantom latents", dict(
    image_id=str, true_plane=str, kind=str, off_plane=float, cue=float, cues=str, weeks=float, size_cm=float,
    pose_deg=float, depth_cm=float, gain_db=float, magnified=int))


@dataclass(frozen=True)
class Phantom:
    """What to simulate.

    difficulty: default | hard. frame_size: px, 16 to 512. train_patients, test_patients: how many.
    fresh_images: further patients (role fresh) are drawn until at least that many images; 0 for none.
    preset_specificity: 0 = scanner presets do not know the plane, 1 = each plane has its own preset.
    workers: processes; the result does not depend on it.
    """

    difficulty: str = "default"
    frame_size: int = 64
    train_patients: int = 240
    test_patients: int = 270
    fresh_images: int = 0
    preset_specificity: float = 0.25
    root_seed: int = 0
    workers: int = 1

    def __post_init__(self):
        if self.difficulty not in DIFFICULTIES:
            raise UserError(f"phantom.difficulty is '{self.difficulty}': choose {' or '.join(DIFFICULTIES)}.")
        if not 16 <= self.frame_size <= 512:
            raise UserError(f"phantom.frame_size is {self.frame_size}: choose 16 to 512 pixels.")
        for name in ("train_patients", "test_patients", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"phantom.{name} is {getattr(self, name)}: choose at least 1.")
        if self.fresh_images < 0:
            raise UserError(f"phantom.fresh_images is {self.fresh_images}: choose 0 or more.")
        if not 0 <= self.preset_specificity <= 1:
            raise UserError(f"phantom.preset_specificity is {self.preset_specificity}: choose 0 to 1.")


def plan(settings: Phantom) -> list[population.Patient]:
    """Every patient with labels and scanner, roles in the order train, test, fresh; no frames yet."""
    people = population.patients(settings.root_seed, "train", settings.train_patients)
    people += population.patients(settings.root_seed, "test", settings.test_patients)
    if settings.fresh_images:
        people += population.patients(settings.root_seed, "fresh", None, settings.fresh_images)
    return people


def simulate(settings: Phantom, progress: Callable[[int, int], None] | None = None
             ) -> tuple[np.ndarray, Table, Table]:
    """Frames uint8 [N, S, S], source table (records.SOURCE) and latents (LATENTS), all in the same order.

    `file` is the row number in the frames, as text. progress(done, total) is called after each patient.
    """
    people = plan(settings)
    total = sum(len(patient.planned) for patient in people)
    frames = np.zeros((total, settings.frame_size, settings.frame_size), np.uint8)
    sources, latents, done = [], [], 0
    for number, (patient, (images, details)) in enumerate(zip(people, rendered(settings, people))):
        for image, detail, (label, plane, sub_plane) in zip(images, details, patient.planned):
            frames[done] = image
            image_id = f"t{done:06d}"
            sources.append(dict(image_id=image_id, file=str(done), patient_id=f"p{number:05d}", label=label,
                                role=patient.role, scanner=patient.scanner, operator=patient.operator,
                                sub_plane=sub_plane if label == "Fetal brain" else ""))
            latents.append(dict(image_id=image_id, true_plane=plane, **detail))
            done += 1
        if progress is not None:
            progress(done, total)
    return frames, Table.of_rows(SOURCE, sources), Table.of_rows(LATENTS, latents)


def rendered(settings: Phantom, people: list[population.Patient]):
    """Yields (frames uint8 [n, S, S], latents) per patient, in order, from `settings.workers` processes."""
    if settings.workers == 1:
        yield from (render_patient(settings, patient) for patient in people)
        return
    jobs = (delayed(render_patient)(settings, patient) for patient in people)
    yield from Parallel(n_jobs=settings.workers, return_as="generator", batch_size=4)(jobs)


def render_patient(settings: Phantom, patient: population.Patient, aspects: list[float] | None = None
                   ) -> tuple[np.ndarray, list[dict]]:
    """All frames of one patient; the patient's anatomy and each frame have generators of their own.

    aspects: width / height of each frame's display; None takes those of the scanner.
    """
    spread = 1.0 if settings.difficulty == "default" else 1.4
    rng = seeds.generator(settings.root_seed, "phantom anatomy", patient.role, patient.number)
    anatomy = population.fetus(rng, spread)
    images, details = [], []
    for number, (_, plane, sub_plane) in enumerate(patient.planned):
        rng = seeds.generator(settings.root_seed, "phantom frame", patient.role, patient.number, number)
        image, detail = render(rng, anatomy, patient, plane, sub_plane, settings.difficulty,
                               settings.preset_specificity, settings.frame_size,
                               None if aspects is None else aspects[number])
        images.append(image)
        details.append(detail)
    return np.stack(images), details
