"""Draw the five standard planes into a scene, and what a fetal database files under `Other`.

Every plane has coordinates of its own, `uv`: u runs along its long axis, v across, and the unit is half that axis.
The number `cue` in [0, 1] is 1 for a textbook plane and 0 for one that has lost the structures that define it. The
functions of standard planes return the names of those that are visible, joined by `+`.
"""

import numpy as np

from synthplanes.phantom.population import Fetus
from synthplanes.phantom.scene import BLOOD, FLUID, Coordinates, Scene, band, curve, ellipse, polar, polyline
from synthplanes.phantom.surroundings import tissue


def brain(scene: Scene, fetus: Fetus, uv: Coordinates, cue: float, sub_plane: str) -> str:
    """Draw an axial head: thalami, or atria and plexus (-ventricular), or the posterior fossa (-cerebellum)."""
    rng = scene.rng
    width = fetus.cephalic * (1 + 0.12 * (1 - cue) * rng.uniform(-0.5, 1.5))
    rho = ellipse(uv, 0, 0, 1, width)
    scene.fill(rho, fetus.brain, 0.0, soft=0.05)
    scene.level += np.clip(1.1 - rho, 0, 0.3) * np.float32(11) * (scene.noise(14) + scene.noise(30))      # sulci
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
            scene.stroke(polyline(uv, [(0.15, 0), (-0.45, side * 0.6 * width)]), fetus.bone - 6, 0.06, opacity=lost)
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
    scene.stroke(polyline(uv, curve((-.6, .8), (.3, .65), (1.3, .9))), -8, 0.06, 3.0, opacity=0.9)        # rectum
    return "canal" if cue > 0.5 else ""


def _limb(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw a forearm or lower leg: two thin parallel bones, then a hand or foot of short ones."""
    rng = scene.rng
    scene.fill(ellipse(uv, 0, 0, 1.25, 0.42), fetus.liver - 3, 0.0, soft=0.15, rim=(fetus.skin, 0.1, 0.5))
    gap = rng.uniform(0.12, 0.2)
    for side, start in ((-1, -.85), (1, -.7)):
        scene.stroke(polyline(uv, curve((start, side * gap), (0, side * gap * 1.7), (.8, side * gap * .8))),
                     fetus.bone - 1, 0.06, 4 * fetus.calcified)
    turn = rng.uniform(-1.2, 1.2)
    for finger in np.linspace(-0.35, 0.35, 4):
        line = polyline(uv, [(1.1 + u, v) for u, v in (polar(.25, turn + finger), polar(.75, turn + finger))])
        scene.stroke(line, -18, 0.11)
        scene.stroke(line, fetus.bone - 3, 0.04, 2 * fetus.calcified)


def _profile(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw a sagittal face: forehead, nose, lips and chin against fluid; jaw bones; part of the skull."""
    for shape in ((0.15, 0.35, 0.55, 0.55), (-0.45, 1.25, 0.9, 0.6)):     # face and chest
        scene.fill(ellipse(uv, *shape), fetus.liver - 2, 0.0, soft=0.1, rim=(fetus.skin + 1, 0.07, 0.5))
    in_front = np.clip((uv[0] - .55) * 8, 0, 1)
    for cu, cv, size in ((.68, .18, .16), (.68, .45, .11), (.63, .60, .10), (.48, .82, .16)):
        bump = ellipse(uv, cu, cv, size * 1.2, size)
        scene.fill(bump, fetus.liver, soft=0.3)
        scene.edge(bump, band(bump, 0.2) * in_front * scene.visible, fetus.skin, specular=0.4)
    scene.fill(ellipse(uv, -0.35, -0.1, 0.85, 0.75), fetus.brain + 2, 0.0, soft=0.08,
               rim=(fetus.bone, 0.06, 0.7, 2 * fetus.calcified))
    for points in ([(.35, .12), (.6, .12)], [(.1, .5), (.5, .48)], [(.1, .85), (.42, .72)]):
        scene.stroke(polyline(uv, points), fetus.bone - 2, 0.06, 3 * fetus.calcified)


def _placenta(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw an even, fine-grained thick plate against the wall, chorionic line, fluid below."""
    u, v = uv
    bend = 0.35 * u * u
    plate = np.abs(v + bend + np.float32(0.35)) / np.float32(scene.rng.uniform(0.35, 0.55))
    fluid = np.clip((v + bend) * 6, 0, 1)
    scene.level += fluid * (np.float32(FLUID) - scene.level)
    scene.fill(plate, fetus.placenta + 3, 0.0, soft=0.1)
    scene.level += np.clip(1 - plate, 0, 1) * np.float32(2.5) * scene.noise(16)
    scene.outline(plate, -11, 0.06, 0.3)
    for _ in range(scene.rng.integers(1, 4)):               # lakes
        cu = scene.rng.uniform(-.8, .8)
        scene.fill(ellipse(uv, cu, -.35 - .35 * cu * cu, .12, .07), BLOOD, soft=0.4)


def _cord(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw loops of the umbilical cord, floating in fluid: chains of rings with dark vessels."""
    rng = scene.rng
    scene.fill(ellipse(uv, 0, 0, 1.35, 1.05), FLUID, -0.7, soft=0.08)
    angle, cu, cv = rng.uniform(0, 6.3), rng.uniform(-.5, 0), rng.uniform(-.3, .3)
    for _ in range(rng.integers(5, 9)):
        scene.fill(ellipse(uv, cu, cv, 0.21, 0.19), -22, soft=0.3, rim=(fetus.skin - 1, 0.2, 0.3))
        for offset in (0.4, 2.6):
            right, down = polar(.09, angle + offset)
            scene.fill(ellipse(uv, cu + right, cv + down, .07, .07), BLOOD, soft=0.4)
        angle += rng.normal(0, 0.7)
        cu, cv = cu + .3 * np.cos(angle), cv + .3 * np.sin(angle)
        if cu * cu + cv * cv > 0.8:
            angle += 2.4


def _kidneys(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw a coronal trunk: two beans with dark pyramids and a bright or dilated pelvis, the spine between."""
    body = ellipse(uv, 0, 0, 1.5, 0.85)
    scene.fill(body, fetus.liver, 0.0, soft=0.06)
    tissue(scene, fetus, np.clip((1 - body) * 6, 0, 1))
    scene.outline(body, fetus.skin, 0.05, 0.7)
    for side in (-1, 1):
        kidney = ellipse(uv, 0.05, side * 0.42, 0.42, 0.22, -side * 0.15)
        scene.fill(kidney, fetus.liver - 10, soft=0.15, rim=(-14, 0.12, 0.3))
        pelvis = -52 if scene.rng.random() < 0.5 else -13
        scene.fill(ellipse(uv, 0.05, side * 0.40, 0.2, 0.06), pelvis, soft=0.4)
    for position in np.linspace(-1.2, 1.2, 11):
        scene.fill(ellipse(uv, position, 0, .06, .05), fetus.bone - 2, 3 * fetus.calcified, soft=0.5)


def _spine(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw a sagittal spine: two converging rows of ossification centres, skin line, shadows between ribs."""
    scene.fill(ellipse(uv, 0, 0.35, 1.6, 0.75), fetus.liver - 2, 0.0, soft=0.06, rim=(fetus.skin, 0.05, 0.7))
    sag = scene.rng.uniform(-0.2, 0.2)
    for position in np.linspace(-1.25, 1.25, 13):
        for row in (-0.10, 0.10):
            centre = ellipse(uv, position, sag * position ** 2 + row * (1.2 - 0.4 * position), .065, .055)
            scene.fill(centre, fetus.bone, 5 * fetus.calcified, soft=0.5)


def _vessel(scene: Scene, fetus: Fetus, uv: Coordinates) -> None:
    """Draw a vessel of the mother, lengthways: a dark band between bright walls and layers of muscle."""
    rng, (u, v) = scene.rng, uv
    scene.level[:] = -24
    scene.level += np.float32(3) * np.sin(v * np.float32(rng.uniform(8, 14)) + scene.noise(5))
    scene.level += 2 * scene.noise(12)
    bend = np.float32(rng.uniform(-.12, .12)) * u * u + np.float32(rng.uniform(-.15, .15)) * u
    scene.fill(np.abs(v - bend) / np.float32(rng.uniform(0.2, 0.38)), -58, -0.8, soft=0.1, rim=(-6, 0.16, 0.2))


OTHER = {"limb": _limb, "profile": _profile, "placenta": _placenta, "cord": _cord, "kidneys": _kidneys,
         "spine": _spine, "vessel": _vessel}
