"""Draw what lies around the object (the mother's wall, uterus, fluid, limbs nearby) and the artefacts of a frame."""

import numpy as np

from synthplanes.phantom.population import Fetus
from synthplanes.phantom.scene import FLUID, TISSUE, Scene, ellipse, polar


def uterus(scene: Scene, fetus: Fetus, x: float, z: float, half: float) -> None:
    """Draw the uterus with its placenta, and fluid beside an object of half size `half` at (x, z), all in cm."""
    rng = scene.rng
    scene.level += np.float32(fetus.placenta - TISSUE)
    tissue(scene, fetus, 1.0)
    gap = half + fetus.fluid * rng.uniform(0.0, 1.2)
    sac = ellipse((scene.x, scene.z), x + rng.normal(0, 0.35 * half), z + rng.normal(0, 0.25 * half),
                  gap * rng.uniform(0.9, 1.5), gap * rng.uniform(0.75, 1.1), rng.uniform(-0.6, 0.6))
    scene.fill(sac, FLUID, -0.9, soft=0.08, rim=(fetus.skin - 6, 0.03, 0.7))
    for _ in range(rng.integers(0, 5)):                     # limbs and cord near the object
        angle, reach = rng.uniform(0, 2 * np.pi), half * rng.uniform(1.05, 1.6) + 0.4
        right, down = polar(reach, angle)
        radius = rng.uniform(0.3, 1.1)
        length, turn = radius * rng.uniform(0.9, 1.5), rng.uniform(0, 3)
        limb = ellipse((scene.x, scene.z), x + right, z + down, length, radius, turn)
        scene.fill(limb, -24, 0.0, soft=0.15, rim=(fetus.skin - 2, 0.12, 0.6))
        if rng.random() < 0.7:
            bone = ellipse((scene.x, scene.z), x + right, z + down, 0.3 * radius, 0.22 * radius)
            scene.fill(bone, fetus.bone - 3, 6 * fetus.calcified, soft=0.5)


def tissue(scene: Scene, fetus: Fetus, weight: float | np.ndarray) -> None:
    """Add the unevenness of soft tissue at three scales, in dB, times `weight` (a number or a mask)."""
    uneven = scene.noise(6) + 0.8 * scene.noise(15) + 0.7 * scene.noise(36)
    scene.level += weight * np.float32(fetus.texture) * uneven


def artefacts(scene: Scene, strength: float) -> None:
    """Add beams with poor contact and bands of uneven gain in depth."""
    rng = scene.rng
    beams, samples = scene.grid.x.shape
    beamwise, depthwise = _smooth_row(rng, beams, 9)[:, None], _smooth_row(rng, samples, 6)
    scene.level += np.float32(strength) * (np.minimum(beamwise, 0.5) * 2.2 + depthwise)
    if rng.random() < 0.35:                                 # an edge of the probe without contact
        side = 1 if rng.random() < 0.5 else -1
        lost = np.clip((side * scene.grid.angles / scene.grid.angles[-1] - rng.uniform(.45, .8)) * 4, 0, 1)
        scene.attenuation += np.float32(2.0 * strength) * lost[:, None]


def _smooth_row(rng: np.random.Generator, count: int, nodes: int) -> np.ndarray:
    knots = rng.standard_normal(nodes)
    return np.interp(np.linspace(0, nodes - 1, count), np.arange(nodes), knots).astype(np.float32)


def maternal_wall(scene: Scene, fetus: Fetus, thickness: float) -> None:
    """Draw skin, fat and muscle, `thickness` cm, as layers parallel to the probe's face; they are painted last."""
    rng = scene.rng
    depth = scene.grid.along + np.float32(0.12) * scene.noise(5)
    inside = np.clip((thickness - depth) * 4 + 0.5, 0, 1)
    layers = (np.sin(depth * np.float32(rng.uniform(5, 9)) + np.float32(rng.uniform(0, 6)))
              + 0.7 * np.sin(depth * np.float32(rng.uniform(12, 20)) + scene.noise(5)))
    level = np.float32(-19) + np.float32(4.5) * layers + np.float32(2) * scene.noise(9)
    scene.level += inside * (level - scene.level)
    scene.attenuation *= 1 - inside
    scene.stroke(np.abs(depth - np.float32(thickness)), fetus.skin - 3, 0.07, opacity=0.7)
