"""One frame: choose what is cut, how it lies and how it is acquired; paint it; scan it; display it."""

from dataclasses import replace

import numpy as np

from synthplanes import seeds
from synthplanes.phantom import anatomy, other, population, surroundings, ultrasound
from synthplanes.phantom.fetus import Fetus, half_size
from synthplanes.phantom.scene import Scene

STANDARD = population.CLASSES[:5]
OBLIQUE = ("Fetal brain", "Fetal abdomen", "Fetal thorax", "Fetal femur")
# How far a cut is off its plane: standard frames lie below `inside`, Other ones above
# `outside`; tilt and gain are the spreads of rotation (factor) and of gain from frame to frame (dB).
DIFFICULTY = {"default": dict(inside=0.28, outside=0.75, tilt=0.9, gain=1.8, roughness=0.09, artefacts=0.9),
              "hard": dict(inside=0.40, outside=0.60, tilt=1.5, gain=3.5, roughness=0.16, artefacts=2.4)}
OBLIQUE_SHARE = 0.40


def render(rng: np.random.Generator, fetus: Fetus, patient: population.Patient, plane: str, sub_plane: str,
           difficulty: str, specificity: float, size: int, aspect: float | None = None
           ) -> tuple[np.ndarray, dict]:
    """One frame uint8 [size, size] and its latents (the columns of LATENTS without image_id and true_plane).

    aspect: width / height of the display; None takes one of the scanner's.
    """
    level = DIFFICULTY[difficulty]
    habit = population.HABITS[patient.operator]
    kind, off = _kind(rng, plane, patient.scanner, level)
    cue = float(np.clip((0.75 - off) / 0.45, 0, 1))
    base = kind.removeprefix("oblique ")
    half = (half_size(base, fetus) if base in STANDARD else other.half_size(base, fetus))
    half *= float(rng.uniform(0.93, 1.07))
    pose = _pose(rng, base, habit, level["tilt"])
    extent = half * (1.0 if base not in ("Fetal femur", "limb", "vessel") else 0.45 + 0.5 * abs(np.sin(pose)))
    wall = 0.5 if base in ("Maternal cervix", "vessel") else fetus.wall
    depth = wall + extent * rng.uniform(0.95, 1.15) + abs(rng.normal(0, 0.6)) * (base != "Maternal cervix")
    across = float(rng.normal(0, habit.centring))
    acquisition, magnified = _acquire(rng, patient, habit, base, plane, half, depth, across, level["gain"],
                                      specificity)
    if aspect is not None:
        acquisition = replace(acquisition, aspect=aspect)
    factor = max(2, -(-96 // size))
    grid = ultrasound.beams(acquisition, max(96, min(2 * size, 160)))
    scene = Scene(grid, rng, level["roughness"])
    cues = _paint(scene, replace(fetus, wall=wall), base, sub_plane, across, depth, pose, half, cue,
                  level["artefacts"])
    brightness = ultrasound.echo(scene.level, scene.attenuation, grid, acquisition, rng)
    picture = ultrasound.display(brightness, grid, acquisition, size * factor)
    frame = ultrasound.reduce_to_square(picture, size)
    visible = "+".join(name for name, seen in cues.items() if seen)
    return frame, dict(kind=kind, off_plane=off, cue=cue, cues=visible, weeks=fetus.weeks, size_cm=half,
                       pose_deg=float(np.degrees(pose)), depth_cm=acquisition.depth, gain_db=acquisition.gain,
                       magnified=int(magnified))


def _kind(rng: np.random.Generator, plane: str, scanner: str, level: dict) -> tuple[str, float]:
    """What is drawn and how far it is off-plane, in [0, 1]."""
    if plane in STANDARD:
        return plane, float(level["inside"] * rng.beta(1.2, 1.6))
    if rng.random() < OBLIQUE_SHARE:
        return f"oblique {rng.choice(OBLIQUE)}", float(rng.uniform(level["outside"], 1))
    weights = np.array([3.0 if kind == "vessel" and scanner == "Aloka" else 1.0 for kind in other.KINDS])
    return str(rng.choice(other.KINDS, p=weights / weights.sum())), 1.0


def _pose(rng: np.random.Generator, base: str, habit: population.Operator, tilt: float) -> float:
    """Rotation in the image, rad; half turns are mirror images of the usual side."""
    angle = rng.normal(0, habit.tilt * tilt)
    if base == "vessel":
        return float(0.3 * angle)
    if base == "Maternal cervix":
        return float(np.clip(0.6 * angle, -.5, .5))
    return float(angle + (np.pi if rng.random() < habit.mirrored else 0.0))


def _acquire(rng, patient, habit, base, plane, half, depth, across, gain_spread, specificity):
    """The settings of one frame and whether it is magnified."""
    scanner = population.SCANNERS[patient.scanner]
    preset = seeds.generator(0, "phantom preset", patient.scanner, plane).normal(size=3) * specificity
    fills = float(np.clip(habit.fills + rng.normal(0, 0.10), 0.45, 1.0))
    aspect = float(rng.choice(scanner.aspects))
    radius, half_angle = scanner.radius, scanner.half_angle
    if base == "vessel":
        radius, half_angle = 200.0, half / fills / 200.0
    elif base == "Maternal cervix":
        radius, half_angle = 1.1, 1.15
    magnified = bool(rng.random() < scanner.magnified) or base == "vessel"
    if magnified:
        width = 2 * half / fills
        height = width / aspect
        top = max(depth - height * rng.uniform(0.42, 0.58), -0.02 * height)
        bottom = top + height
    else:
        bottom = (depth + half) * rng.uniform(0.98, 1.15)
        height = bottom * rng.uniform(1.0, 1.06)
        width, top = height * aspect, -(height - bottom) * rng.uniform(0.3, 1.0)
    fineness = float(np.clip(bottom / 10, 0.5, 1.2))        # shallow objects: a higher frequency
    shift = 0.7 * across if magnified else 0.0
    acquisition = ultrasound.Acquisition(
        radius=radius, half_angle=half_angle, depth=bottom,
        window_width=width, aspect=aspect, top=top, shift=shift,
        axial_spread=scanner.axial_spread * fineness,
        lateral_spread=scanner.lateral_spread * fineness, looks=2,
        dynamic_range=scanner.dynamic_range + 6 * preset[0],
        gain=scanner.gain + habit.gain + 4 * preset[1] + float(rng.normal(0, gain_spread)),
        depth_slope=float(rng.normal(-0.25, 0.35)), noise_floor=scanner.noise_floor,
        gamma=float(np.clip(scanner.gamma + 0.15 * preset[2], 0.8, 2.0)))
    return acquisition, magnified


def _paint(scene, fetus, base, sub_plane, across, depth, pose, half, cue, strength) -> dict[str, bool]:
    """Surroundings, object, mother's wall, in that order; returns the cues and whether they can be seen."""
    surroundings.uterus(scene, fetus, across, depth, half)
    u, v = scene.frame(across, depth, pose, half)
    spine = float(scene.rng.uniform(-np.pi, np.pi))
    cues: dict[str, bool] = {}
    if base == "Fetal brain":
        cues = anatomy.brain(scene, fetus, u, v, cue, sub_plane)
    elif base == "Fetal abdomen":
        cues = anatomy.abdomen(scene, fetus, u, v, cue, spine)
    elif base == "Fetal thorax":
        cues = anatomy.thorax(scene, fetus, u, v, cue, spine)
    elif base == "Fetal femur":
        cues = anatomy.femur(scene, fetus, u, v, cue, pose)
    elif base == "Maternal cervix":
        cues = anatomy.cervix(scene, fetus, u, v, cue)
    else:
        other.draw(base, scene, fetus, u, v)
    surroundings.maternal_wall(scene, fetus)
    surroundings.artefacts(scene, strength)
    return cues
