"""Paint soft shapes of echo levels, in decibels, on the grid of beams.

A shape is a field `rho`: below 1 inside, 1 on the outline, above 1 outside. Painting blends the level (dB) and the
attenuation (dB per cm) under a soft mask, so that an organ replaces what lies under it.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from synthplanes.phantom.ultrasound import Beams

TISSUE, FLUID, BLOOD = -21.0, -60.0, -50.0         # dB
Coordinates = tuple[np.ndarray, np.ndarray]        # u and v of every point of the grid, float32 [beams, samples]
# The level, width, specular and, where it has some, attenuation of an outline (see Scene.outline).
Rim = tuple[float, float, float] | tuple[float, float, float, float]


class Scene:
    """Level and attenuation maps, float32 [beams, samples], and the painters that change them."""

    def __init__(self, grid: Beams, rng: np.random.Generator, roughness: float):
        """Begin with even tissue; outlines are warped by a standard deviation of `roughness` cm."""
        self.grid, self.rng = grid, rng
        self.x = grid.x + roughness * self.noise(7)
        self.z = grid.z + roughness * self.noise(7)
        self.visible = np.clip(0.95 + 0.35 * self.noise(11), 0.3, 1)      # edges are never drawn evenly
        self.level = np.full(grid.x.shape, TISSUE, np.float32)
        self.attenuation = np.zeros(grid.x.shape, np.float32)

    def noise(self, nodes: int) -> np.ndarray:
        """Draw smooth noise of unit variance with `nodes` knots along either axis, float32 [beams, samples]."""
        upper, down = _interpolation(self.grid.x.shape[0], nodes)
        left, right = _interpolation(self.grid.x.shape[1], nodes)
        knots = self.rng.standard_normal((nodes, nodes), dtype=np.float32)
        rows = knots[upper] * down[0][:, None] + knots[upper + 1] * down[1][:, None]
        return rows[:, left] * right[0] + rows[:, left + 1] * right[1]

    def local(self, x: float, z: float, angle: float, scale: float) -> Coordinates:
        """Return coordinates with their origin at (x, z) cm, rotated by `angle` (rad), in units of `scale` cm."""
        cosine, sine = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        right, down = self.x - np.float32(x), self.z - np.float32(z)
        return right * cosine + down * sine, down * cosine - right * sine

    def fill(self, rho: np.ndarray, level: float, attenuation: float | None = None, soft: float = 0.06,
             opacity: float = 1.0, rim: Rim | None = None) -> None:
        """Paint the inside of a shape, then its `rim`; the inside fades over `soft`, in units of rho."""
        mask = np.clip((1 - rho) / np.float32(soft) + np.float32(0.5), 0, 1) * np.float32(opacity)
        self.level += mask * (np.float32(level) - self.level)
        if attenuation is not None:
            self.attenuation += mask * (np.float32(attenuation) - self.attenuation)
        if rim:
            self.outline(rho, *rim, opacity=opacity)

    def outline(self, rho: np.ndarray, level: float, width: float, specular: float, attenuation: float = 0.0, *,
                opacity: float = 1.0) -> None:
        """Paint a shape's edge of half width `width`, in units of rho (see `edge`)."""
        mask = band(rho, width) * (self.visible * np.float32(opacity))
        self.edge(rho, mask, level, specular)
        if attenuation:
            self.attenuation += mask * np.float32(attenuation)

    def edge(self, rho: np.ndarray, mask: np.ndarray, level: float, specular: float) -> None:
        """Brighten under a mask, most where the edge of a shape faces the beam.

        `specular` is the brightness lost, in units of 25 dB, where the edge runs along the beam.
        """
        across, along = np.gradient(rho)
        across[[0, -1]], along[:, [0, -1]] = across[[1, -2]], along[:, [1, -2]]
        across /= self.grid.pitch
        along /= np.float32(self.grid.step)
        facing = along * along / (across * across + along * along + np.float32(1e-6))
        wanted = np.float32(level) - np.float32(25 * specular) * (1 - facing)
        self.level += mask * np.maximum(wanted - self.level, -2)

    def stroke(self, distance: np.ndarray, level: float, width: float, attenuation: float = 0.0,
               opacity: float = 1.0) -> None:
        """Paint a line of half width `width`, in the unit of `distance`."""
        mask = np.clip(1.5 - distance / np.float32(width), 0, 1) * self.visible * np.float32(opacity)
        self.level += mask * (np.float32(level) - self.level)
        if attenuation:
            self.attenuation += mask * np.float32(attenuation)


def band(rho: np.ndarray, width: float) -> np.ndarray:
    """Return a mask that is 1 on the outline of a shape and falls to 0 over `width`, in units of rho."""
    return np.clip(1.5 - np.abs(rho - 1) / np.float32(width), 0, 1)


def ellipse(uv: Coordinates, cu: float, cv: float, a: float, b: float, angle: float = 0.0) -> np.ndarray:
    """Return rho of an ellipse centred at (cu, cv) with semi-axes a and b, rotated by `angle` (rad)."""
    u, v = uv
    right, down = u - np.float32(cu), v - np.float32(cv)
    if angle:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        right, down = right * cosine + down * sine, down * cosine - right * sine
    right = right * np.float32(1 / a)
    down = down * np.float32(1 / b)
    return np.sqrt(right * right + down * down)


def polyline(uv: Coordinates, points: ArrayLike) -> np.ndarray:
    """Return the distance to a chain of straight pieces through two or more points (u, v)."""
    u, v = uv
    nearest = np.full_like(u, np.inf)
    for (u0, v0), (u1, v1) in pairwise(np.asarray(points).tolist()):
        du, dv = u1 - u0, v1 - v0
        right, down = u - np.float32(u0), v - np.float32(v0)
        t = (right * np.float32(du) + down * np.float32(dv)) / np.float32(du * du + dv * dv + 1e-9)
        t = np.clip(t, 0, 1)
        right -= t * np.float32(du)
        down -= t * np.float32(dv)
        nearest = np.minimum(nearest, right * right + down * down)
    return np.sqrt(nearest)


def polar(radius: float, angle: float) -> tuple[float, float]:
    """Return the point (u, v) at an angle (rad) on a circle around the origin."""
    return radius * np.cos(angle), radius * np.sin(angle)


def curve(start: tuple[float, float], control: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """Return points (u, v) of a quadratic Bezier curve, float [6, 2], for a chain of five straight pieces."""
    t = np.linspace(0, 1, 6)[:, None]
    return (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(control) + t ** 2 * np.array(end)


@lru_cache(maxsize=64)
def _interpolation(count: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower knot, integer [count], and two weights of unit length, float32 [2, count], of every position.

    Cosine interpolation by two gathers, not a matrix product: without threads, the bits are the same on any number of
    cores.
    """
    position = np.linspace(0, nodes - 1, count)
    lower = np.minimum(position.astype(int), nodes - 2)
    upper = (1 - np.cos(np.pi * (position - lower))) / 2
    weights = np.stack([1 - upper, upper])
    return lower, (weights / np.linalg.norm(weights, axis=0)).astype(np.float32)
