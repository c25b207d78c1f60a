"""Draw the five standard planes into a scene.

Every plane has coordinates of its own, `uv`: u runs along its long axis, v across, and the unit is half that axis.
The number `cue` in [0, 1] is 1 for a textbook plane and 0 for one that has lost the structures that define it. Each
function returns the names of those that are visible, joined by `+`.
"""

import numpy as np

from synthplanes.phantom.population import Fetus
from synthplanes.phantom.scene import BLOOD, FLUID, Coordinates, Scene, curve, ellipse, polar, polyline
from synthplanes.phantom.surroundings import tissue


def brain(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float, sub_plane: str) -> str:
    """Draw an axial head: thalami, or atria and plexus (-ventricular), or the posterior fossa (-cerebellum)."""
    rng = scene.rng
    width = fetus.cephalic * (1 + 0.12 * (1 - cue) * rng.uniform(-0.5, 1.5))
    rho = ellipse(uv, 0, 0, 1, width)
    scene.fill(rho, fetus.brain, 0.0, soft=0.05)
    sulci = scene.noise(14) + scene.noise(30)
    scene.level += np.clip(1.1 - rho, 0, 0.3) * np.float32(11) * sulci
    if sub_plane == "Trans-cerebellum":
        scene.fill(ellipse(uv, -0.76, 0, 0.17, 0.30 * width), -54, soft=0.2, opacity=cue)
        for side in (-1, 1):
            lobe = ellipse(uv, -0.57, side * 0.24 * width, 0.17, 0.26 * width, side * 0.35)
            scene.fill(lobe, fetus.brain + 6, soft=0.2, opacity=cue, rim=(-12, 0.14, 0.3))
        scene.stroke(polyline(uv, [(-.52, -.05), (-.67, .05)]), -12, 0.04, opacity=cue)
    elif sub_plane == "Trans-ventricular":
        for side in (-1, 1):
            horn = ellipse(uv, -0.38, side * 0.40 * width, 0.34, 0.15 * width, -side * 0.30)
            scene.fill(horn, -56, soft=0.2, opacity=cue, rim=(-13, 0.16, 0.5))
            plexus = ellipse(uv, -0.30, side * 0.38 * width, 0.18, 0.09 * width, -side * 0.30)
            scene.fill(plexus, -13, soft=0.4, opacity=cue)
    else:
        for side in (-1, 1):
            thalamus = ellipse(uv, -0.05, side * 0.19 * width, 0.22, 0.17 * width, side * 0.5)
            scene.fill(thalamus, fetus.brain - 9, soft=0.25, opacity=cue)
            scene.outline(thalamus, -17, 0.12, 0.3, opacity=0.8 * cue)
        scene.stroke(polyline(uv, curve((-.35, -.2), (-.2, 0), (-.35, .2))), -16, 0.03, opacity=cue)
    cavum = rng.random() < 0.25 + 0.75 * cue
    midline = max(0.0, cue + rng.uniform(-0.15, 0.1))
    falx = polyline(uv, curve((-.88, 0), (0, rng.normal(0, 0.03)), (.90, 0)))
    scene.stroke(falx, -10, 0.03, opacity=min(1.0, midline))
    if cavum:
        scene.fill(ellipse(uv, 0.42, 0, 0.15, 0.075), -56, soft=0.3, opacity=cue, rim=(-9, 0.3, 0.3))
    for side in (-1, 1):
        insula = curve((.1, side * .62 * width), (.3, side * .5 * width), (.45, side * .66 * width))
        scene.stroke(polyline(uv, insula), -15, 0.03, opacity=0.7 * cue)
    if cue < 0.6:                                     # too low or too tilted a cut: orbits, base of the skull
        lost = (0.6 - cue) / 0.6
        for side in (-1, 1):
            orbit = ellipse(uv, 0.62, side * 0.34 * width, 0.20, 0.20)
            scene.fill(orbit, -54, soft=0.2, opacity=lost, rim=(fetus.bone - 3, 0.16, 0.3))
            ridge = polyline(uv, [(0.15, 0), (-0.45, side * 0.6 * width)])
            scene.stroke(ridge, fetus.bone - 6, 0.06, opacity=lost)
    near = np.clip(-uv[1] / np.float32(width), 0, 1) * np.clip(1.05 - rho, 0, 1)
    scene.level += near * np.float32(6)                # reverberation hides the hemisphere near the probe
    scene.outline(rho, fetus.bone, 0.05, 0.95, 2.5 * fetus.calcified)
    scene.outline(ellipse(uv, 0, 0, 1.09, width + .09), fetus.skin - 4, 0.02, 0.7)
    return "+".join(name for name, visible in (("cavum", cavum), ("midline", midline > 0.5)) if visible)


def _trunk(scene: Scene, fetus: Fetus, uv: Coordinates, level: float, squash: float) -> None:
    """Draw a round section of skin around tissue; `squash` is its height over its width."""
    rho = ellipse(uv, 0, 0, 1, squash)
    scene.fill(rho, level, 0.0, soft=0.05)
    tissue(scene, fetus, np.clip((1 - rho) * 8, 0, 1))
    scene.outline(rho, fetus.skin, 0.045, 0.75)


def _skeleton(scene: Scene, fetus: Fetus, uv: Coordinates, squash: float, ribs: int, spine: float) -> None:
    """Draw the ribs of a trunk, so many on each side, and its spine at the angle `spine`."""
    for side in (-1, 1):
        for number in range(ribs):
            start = spine + side * (0.45 + 0.62 * number + scene.rng.uniform(-.06, .06))
            turns = start + side * np.linspace(0, 0.42, 3)
            arc = np.stack([0.90 * np.cos(turns), 0.90 * squash * np.sin(turns)], axis=1)
            scene.stroke(polyline(uv, arc), fetus.bone - 6, 0.03, 9 * fetus.calcified)
    for offset, depth in ((-0.16, 0.80), (0.16, 0.80), (0.0, 0.66)):
        angle = spine + offset
        dot = ellipse(uv, depth * np.cos(angle), depth * squash * np.sin(angle), 0.085, 0.085)
        scene.fill(dot, fetus.bone - 2, 16 * fetus.calcified, soft=0.6)


def abdomen(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float, spine: float) -> str:
    """Draw an axial abdomen: stomach bubble, umbilical vein curving into the portal sinus, spine, short ribs."""
    rng = scene.rng
    squash = 0.94 - 0.35 * (1 - cue) * rng.uniform(0.5, 1)
    _trunk(scene, fetus, uv, fetus.liver, squash)
    _skeleton(scene, fetus, uv, squash, 1 + round(2.5 * (1 - cue)), spine)
    side = 1 if rng.random() < 0.5 else -1
    at = spine + side * rng.uniform(1.1, 1.6)
    size = fetus.stomach * rng.uniform(0.75, 1.25)
    stomach = ellipse(uv, 0.52 * np.cos(at), 0.52 * np.sin(at) * squash, 1.2 * size, 0.9 * size, at)
    scene.fill(stomach, FLUID, -0.8, soft=0.15, opacity=cue)
    front = spine + np.pi
    vein = polyline(uv, curve(polar(.42, front), polar(.12, front), polar(.34, front - side * 0.9)))
    scene.stroke(vein, -9, 0.12, opacity=0.8 * cue)
    scene.stroke(vein, BLOOD, 0.06, opacity=cue)
    for offset in (-0.22, 0.22):                       # aorta and inferior vena cava
        scene.fill(ellipse(uv, *polar(0.48, spine + offset), .055, .055), BLOOD, soft=0.5)
    if cue < 0.6:                                      # too low: kidneys beside the spine; bowel
        lost = (0.6 - cue) / 0.6
        for offset in (-0.75, 0.75):
            at_kidney = polar(.5, spine + offset)
            scene.fill(ellipse(uv, *at_kidney, .24, .17, spine), fetus.liver - 8, soft=0.2, opacity=lost)
            scene.fill(ellipse(uv, *at_kidney, .07, .07), -46, soft=0.4, opacity=lost)
    return "stomach+umbilical vein" if cue > 0.5 else ""


def thorax(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float, spine: float) -> str:
    """Draw a four-chamber view: heart with septum and valve plane, lungs, long ribs, spine, aorta."""
    rng = scene.rng
    squash = 0.92 - 0.32 * (1 - cue) * rng.uniform(0.5, 1)
    _trunk(scene, fetus, uv, fetus.lung, squash)
    _skeleton(scene, fetus, uv, squash, 3, spine)
    side = 1 if rng.random() < 0.5 else -1
    axis = spine + np.pi + side * rng.uniform(0.5, 1.0)     # the apex points to the front left
    size = fetus.heart * rng.uniform(0.92, 1.08)
    cu, cv = polar(0.16, axis)
    scene.fill(ellipse(uv, cu, cv, size, 0.78 * size, axis), fetus.lung - 7, soft=0.15, rim=(-15, 0.10, 0.5))
    along, across = polar(1, axis)

    def at(p: float, q: float) -> tuple[float, float]:
        return cu + size * (p * along - q * across), cv + size * (p * across + q * along)

    ventricles = ((.34, .29, .44, .20), (.34, -.29, .42, .21))
    atria = ((-.42, .28, .28, .23), (-.42, -.28, .27, .23))
    for p, q, a, b in ventricles + atria:
        scene.fill(ellipse(uv, *at(p, q), a * size, b * size, axis), BLOOD, -0.4, soft=0.25, opacity=cue)
    scene.stroke(polyline(uv, [at(-.75, 0), at(.85, 0)]), -10, 0.04, opacity=cue)
    scene.stroke(polyline(uv, [at(-.08, -.55), at(-.08, .55)]), -11, 0.03, opacity=0.9 * cue)
    if cue < 0.6:                                      # above the chambers: outflow tract as one dark band
        lost = (0.6 - cue) / 0.6
        scene.stroke(polyline(uv, [at(-.5, -.3), at(.7, .35)]), BLOOD, 0.2 * size, opacity=lost)
    scene.fill(ellipse(uv, *polar(0.50, spine + .25 * side), .07, .07), BLOOD, soft=0.4)    # aorta
    return "four chambers" if cue > 0.5 else ""


def femur(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float, pose: float) -> str:
    """Draw a femur: a long bright shaft, slightly bowed, with its shadow; a good plane shows both ends."""
    rng = scene.rng
    thigh = rng.uniform(0.42, 0.95)
    limb = ellipse(uv, 0.05, 0.12 * np.cos(pose) + 0.1, rng.uniform(1.3, 2.0), thigh)
    scene.fill(limb, fetus.liver - 4, 0.0, soft=0.12)
    tissue(scene, fetus, np.clip((1 - limb) * 6, 0, 1))
    scene.outline(limb, fetus.skin - 2, 0.07, 0.8)
    reach = 1.0 - 0.6 * (1 - cue)                           # an oblique cut shortens the shaft
    shaft = polyline(uv, curve((-reach, 0), (0, rng.uniform(-0.16, 0.02)), (reach, 0)))
    scene.stroke(shaft, fetus.bone, 0.05 + 0.03 * (1 - cue), 30 * fetus.calcified)
    if cue > 0.4:
        for end, size in ((-1, 0.13), (1, 0.10)):           # metaphyses and epiphyses
            scene.fill(ellipse(uv, end * reach, .02, .07, .10), fetus.bone - 2, 5 * fetus.calcified, soft=0.5)
            scene.fill(ellipse(uv, end * (reach + .17), .03, size, size), fetus.liver - 10, soft=0.4)
    if cue < 0.6:                                           # the cut leaves the shaft for the hip or the knee
        joint = ellipse(uv, 0.9 if rng.random() < 0.5 else -0.9, 0.1, 0.42, 0.40)
        scene.fill(joint, fetus.liver - 9, 0.0, soft=0.15, opacity=(0.6 - cue) / 0.6,
                   rim=(fetus.bone - 6, 0.12, 0.5, 2 * fetus.calcified))
    return "both ends" if cue > 0.5 else ""


def cervix(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float) -> str:
    """Draw a transvaginal sagittal view: bladder, canal between two lines, head and fluid at the inner mouth."""
    rng = scene.rng
    scene.level[:] = fetus.placenta - 1
    scene.attenuation[:] = 0
    tissue(scene, fetus, 1.2)
    head = ellipse(uv, -1.75 + rng.normal(0, .12), 0.25 + rng.normal(0, .2), 1.0, 0.95)
    scene.fill(ellipse(uv, -1.55, 0.15, 1.15, 0.95), FLUID, -0.6, soft=0.08, opacity=0.95)
    scene.fill(head, fetus.brain, soft=0.08, rim=(fetus.bone - 1, 0.05, 0.6, 3 * fetus.calcified))
    filling = rng.uniform(0.15, 0.5)
    bladder = ellipse(uv, -0.55 + rng.normal(0, .15), -0.85 + rng.normal(0, .1), 0.75, filling, -0.25)
    scene.fill(bladder, FLUID, -0.8, soft=0.1, rim=(fetus.skin - 1, 0.08, 0.5))
    scene.fill(ellipse(uv, 0.2, 0.05, 1.05, 0.48), -25, soft=0.2, rim=(-15, 0.08, 0.5))    # the cervix itself
    canal = polyline(uv, curve((-.62, 0), (.1, rng.uniform(-.3, .3)), (1.0, .08)))
    scene.stroke(canal, -34, 0.17, opacity=0.8 * cue)       # glands around the canal
    scene.stroke(np.abs(canal - 0.055), -9, 0.03, opacity=cue)
    rectum = polyline(uv, curve((-.6, .8), (.3, .65), (1.3, .9)))
    scene.stroke(rectum, -8, 0.06, 3.0, opacity=0.9)
    return "canal" if cue > 0.5 else ""
