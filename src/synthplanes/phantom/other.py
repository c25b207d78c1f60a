"""Draw what a fetal database files under `Other`: limbs, faces, placenta, cord, kidneys, spine, vessels."""

import numpy as np

from synthplanes.phantom.population import Fetus
from synthplanes.phantom.scene import BLOOD, FLUID, Coordinates, Scene, band, curve, ellipse, polar, polyline
from synthplanes.phantom.surroundings import tissue


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


DRAWERS = {"limb": _limb, "profile": _profile, "placenta": _placenta, "cord": _cord, "kidneys": _kidneys,
           "spine": _spine, "vessel": _vessel}
