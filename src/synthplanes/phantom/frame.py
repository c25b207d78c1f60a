"""Render one frame: draw the plane, its pose and the acquisition, then paint, scan and display it."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from synthplanes import seeds
from synthplanes.phantom import anatomy, population, surroundings, ultrasound
from synthplanes.phantom.population import OTHER_KINDS, Fetus
from synthplanes.phantom.scene import Scene
from synthplanes.protocol.config import Simulate

OBLIQUE = ("Fetal brain", "Fetal abdomen", "Fetal thorax", "Fetal femur")
OBLIQUE_SHARE = 0.40                # of the views filed under Other


class Difficulty(NamedTuple):
    """The variation of frames and the separation of the classes."""

    inside: float                   # standard views are off their plane by less than this, in 0..1
    outside: float                  # Other ones by more than this
    tilt: float                     # factor on the operator's spread of rotations
    gain: float                     # standard deviation from frame to frame, dB
    roughness: float                # of outlines, cm
    artefacts: float                # strength


DIFFICULTIES = {"default": Difficulty(inside=0.28, outside=0.75, tilt=0.9, gain=1.8, roughness=0.09, artefacts=0.9),
                "hard":    Difficulty(inside=0.40, outside=0.60, tilt=1.5, gain=3.5, roughness=0.16, artefacts=2.4)}


class Cut:
    """The content and pose of one frame; lengths in cm."""

    def __init__(self, rng: np.random.Generator, fetus: Fetus, patient: population.Patient, true_plane: str,
                 difficulty: Difficulty):
        """Draw the cut of a view that shows `true_plane`.

        `plane` is a standard plane, oblique or not, or a kind of Other; `kind` is the same, or `oblique <plane>`.
        `off_plane` in 0..1 is the distance from the textbook plane.
        """
        habit = population.HABITS[patient.operator]
        if true_plane in population.STANDARD:
            self.kind = self.plane = true_plane
            off_plane = difficulty.inside * rng.beta(1.2, 1.6)
        elif rng.random() < OBLIQUE_SHARE:
            self.plane = str(rng.choice(OBLIQUE))
            self.kind, off_plane = f"oblique {self.plane}", rng.uniform(difficulty.outside, 1)
        else:
            weights = [3.0 if kind == "vessel" and patient.scanner == "Aloka" else 1.0 for kind in OTHER_KINDS]
            self.kind = self.plane = str(rng.choice(list(OTHER_KINDS), p=np.array(weights) / sum(weights)))
            off_plane = 1.0
        self.off_plane = float(off_plane)
        self.cue = float(np.clip((0.75 - off_plane) / 0.45, 0, 1))     # what is left of the defining structures
        self.half = fetus.half_size(self.plane) * float(rng.uniform(0.93, 1.07))    # half the object's long axis
        pose = rng.normal(0, habit.tilt * difficulty.tilt)
        if self.plane == "vessel":
            pose *= 0.3
        elif self.plane == "Maternal cervix":
            pose = np.clip(0.6 * pose, -.5, .5)
        elif rng.random() < habit.mirrored:
            pose += np.pi                                   # the mirror image of the usual side
        self.pose = float(pose)                             # rotation in the image, rad
        flat = self.plane in ("Fetal femur", "limb", "vessel")
        extent = self.half * (0.45 + 0.5 * abs(np.sin(pose)) if flat else 1.0)
        self.wall = 0.5 if self.plane in ("Maternal cervix", "vessel") else fetus.wall      # above the object
        self.depth = self.wall + extent * rng.uniform(0.95, 1.15)                           # of its centre
        self.depth += abs(rng.normal(0, 0.6)) * (self.plane != "Maternal cervix")
        self.across = float(rng.normal(0, habit.centring))


def render(rng: np.random.Generator, fetus: Fetus, patient: population.Patient, view: population.View,
           settings: Simulate, aspect: float | None = None) -> tuple[np.ndarray, dict]:
    """Render one frame, uint8 [size, size], and its latents (columns of LATENTS but image_id and true_plane).

    `aspect` is the width / height of the display; None takes one of the scanner's.
    """
    difficulty, size = DIFFICULTIES[settings.difficulty], settings.frame_size
    cut = Cut(rng, fetus, patient, view.plane, difficulty)
    acquisition, magnified = _acquire(rng, patient, view.plane, cut, settings)
    if aspect is not None:
        acquisition = replace(acquisition, aspect=aspect)
    grid = ultrasound.beams(acquisition, max(96, min(2 * size, 160)))
    scene = Scene(grid, rng, difficulty.roughness)
    cues = _paint(scene, fetus, cut, view.sub_plane)
    surroundings.artefacts(scene, difficulty.artefacts)
    brightness = ultrasound.echo(scene.level, scene.attenuation, grid, acquisition, rng)
    picture = ultrasound.display(brightness, grid, acquisition, size * max(2, -(-96 // size)))
    return ultrasound.reduce_to_square(picture, size), dict(
        kind=cut.kind, off_plane=cut.off_plane, cue=cut.cue, cues=cues, weeks=fetus.weeks, size_cm=cut.half,
        pose_deg=float(np.degrees(cut.pose)), depth_cm=acquisition.depth, gain_db=acquisition.gain,
        magnified=int(magnified))


def _acquire(rng: np.random.Generator, patient: population.Patient, true_plane: str, cut: Cut, settings: Simulate
             ) -> tuple[ultrasound.Acquisition, bool]:
    """Draw the settings of one frame, and whether it is magnified."""
    scanner, habit = population.SCANNERS[patient.scanner], population.HABITS[patient.operator]
    preset = seeds.generator(0, "phantom preset", patient.scanner, true_plane).normal(size=3)
    preset *= settings.preset_specificity
    fills = float(np.clip(habit.fills + rng.normal(0, 0.10), 0.45, 1.0))
    aspect = float(rng.choice(scanner.aspects))
    radius, half_angle = {"vessel": (200.0, cut.half / fills / 200.0), "Maternal cervix": (1.1, 1.15)}.get(
        cut.plane, (scanner.radius, scanner.half_angle))
    magnified = bool(rng.random() < scanner.magnified) or cut.plane == "vessel"
    if magnified:
        width = 2 * cut.half / fills
        height = width / aspect
        top = max(cut.depth - height * rng.uniform(0.42, 0.58), -0.02 * height)
        bottom = top + height
    else:
        bottom = (cut.depth + cut.half) * rng.uniform(0.98, 1.15)
        height = bottom * rng.uniform(1.0, 1.06)
        width, top = height * aspect, -(height - bottom) * rng.uniform(0.3, 1.0)
    fineness = float(np.clip(bottom / 10, 0.5, 1.2))        # shallow objects: a higher frequency
    gain = scanner.gain + habit.gain + 4 * preset[1] + float(rng.normal(0, DIFFICULTIES[settings.difficulty].gain))
    return ultrasound.Acquisition(
        radius=radius, half_angle=half_angle, depth=bottom, window_width=width, aspect=aspect, top=top,
        shift=0.7 * cut.across if magnified else 0.0, axial_spread=scanner.axial_spread * fineness,
        lateral_spread=scanner.lateral_spread * fineness, looks=2, dynamic_range=scanner.dynamic_range + 6 * preset[0],
        gain=gain, depth_slope=float(rng.normal(-0.25, 0.35)), noise_floor=scanner.noise_floor,
        gamma=float(np.clip(scanner.gamma + 0.15 * preset[2], 0.8, 2.0))), magnified


def _paint(scene: Scene, fetus: Fetus, cut: Cut, sub_plane: str) -> str:
    """Paint surroundings, object and the mother's wall, in that order; return the visible cues, joined by `+`."""
    surroundings.uterus(scene, fetus, cut.across, cut.depth, cut.half)
    uv = scene.local(cut.across, cut.depth, cut.pose, cut.half)
    spine, cues = float(scene.rng.uniform(-np.pi, np.pi)), ""
    if cut.plane == "Fetal brain":
        cues = anatomy.brain(scene, fetus, uv, cut.cue, sub_plane)
    elif cut.plane == "Fetal abdomen":
        cues = anatomy.abdomen(scene, fetus, uv, cut.cue, spine)
    elif cut.plane == "Fetal thorax":
        cues = anatomy.thorax(scene, fetus, uv, cut.cue, spine)
    elif cut.plane == "Fetal femur":
        cues = anatomy.femur(scene, fetus, uv, cut.cue, cut.pose)
    elif cut.plane == "Maternal cervix":
        cues = anatomy.cervix(scene, fetus, uv, cut.cue)
    else:
        anatomy.OTHER[cut.plane](scene, fetus, uv)
    surroundings.maternal_wall(scene, fetus, cut.wall)
    return cues
