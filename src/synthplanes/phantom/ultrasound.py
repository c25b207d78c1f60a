"""Turn a map of echo levels into a B-mode frame: scatterers, point spread, shadows, log compression, display.

Everything acoustic happens on a grid of beams x depth samples. There attenuation and shadows are cumulative sums along
a beam, and a lateral point spread of constant angle widens with depth, as in a curvilinear probe. Signals are complex
baseband (the axial carrier is already demodulated), so the envelope is the modulus. Model: fully developed speckle,
i.e. circular complex Gaussian scatterers (Wagner et al. 1983, IEEE Trans. Sonics Ultrasonics 30), several independent
looks compounded.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage


@dataclass(frozen=True)
class Acquisition:
    """All settings of one frame; lengths in cm, angles in rad, levels in dB."""

    radius: float               # of the probe's curvature; very large for a linear probe
    half_angle: float           # of the sector
    depth: float                # of the sector, from the probe's face
    window_width: float         # of the part of the scene that the display shows
    aspect: float               # display width / height
    top: float                  # depth of the display's upper edge; negative leaves a margin above the probe
    shift: float                # lateral centre of the display
    axial_spread: float         # standard deviation of the point spread along the beam, cm
    lateral_spread: float       # the same across beams at 6 cm depth, cm
    looks: int                  # independent looks compounded
    dynamic_range: float        # dB shown between black and white
    gain: float                 # dB
    depth_slope: float          # dB per cm left by an imperfect time-gain compensation
    noise_floor: float          # dB at the face; rises with depth
    gamma: float                # grey curve after log compression


class Beams(NamedTuple):
    """The acoustic grid; arrays are float32 and, unless said, [beams, samples]."""

    x: np.ndarray               # lateral position, cm
    z: np.ndarray               # depth below the centre of the probe's face, cm
    along: np.ndarray           # depth along the beam, cm
    step: float                 # spacing of samples along the beam, cm
    pitch: np.ndarray           # lateral spacing of neighbouring beams, cm, [1, samples]
    angles: np.ndarray          # of the beams, rad, [beams]


def beams(acquisition: Acquisition, resolution: int) -> Beams:
    """Build the grid of one acquisition, `resolution` beams x `resolution` samples, as wide as the display needs."""
    a = acquisition
    reach = (abs(a.shift) + a.window_width / 2) / (a.radius + max(a.top, 0.0) + 1e-6)
    half = min(a.half_angle, float(np.arctan(reach)) + 0.02)
    angles = np.linspace(-half, half, resolution, dtype=np.float32)[:, None]
    along = np.linspace(0, a.depth, resolution, dtype=np.float32)[None, :]
    x = (a.radius + along) * np.sin(angles)
    z = (a.radius + along) * np.cos(angles) - np.float32(a.radius)
    pitch = (a.radius + along) * np.float32(2 * half / (resolution - 1))
    return Beams(x, z, np.broadcast_to(along, x.shape), a.depth / (resolution - 1), pitch, angles[:, 0])


def echo(level: np.ndarray, attenuation: np.ndarray, grid: Beams, acquisition: Acquisition,
         rng: np.random.Generator) -> np.ndarray:
    """Compute the displayed brightness on the grid of beams, float32 [beams, samples] in [0, 1].

    `level` is the backscatter in dB (0 is bone facing the probe). `attenuation`, in dB per cm (both ways), goes beyond
    the tissue average that time-gain compensation removes; negative values give enhancement behind fluid.
    """
    a = acquisition
    received = level - np.cumsum(attenuation, axis=1) * np.float32(grid.step) + np.float32(a.gain)
    received += np.float32(a.depth_slope) * grid.along
    amplitude = np.power(np.float32(10), received / 20)
    scatterers = rng.standard_normal((a.looks, 2, *level.shape), dtype=np.float32)
    field = (scatterers[:, 0] + 1j * scatterers[:, 1]) * (amplitude * np.float32(np.sqrt(0.5)))
    lateral = a.lateral_spread / (a.radius + 6) / float(grid.angles[1] - grid.angles[0])
    axial = a.axial_spread / grid.step
    transfer = np.outer(_gaussian_transfer(level.shape[0], lateral), _gaussian_transfer(level.shape[1], axial))
    transfer /= np.sqrt(np.mean(transfer ** 2))          # unit mean intensity for a uniform medium
    field = fft.ifft2(fft.fft2(field, axes=(1, 2)) * transfer, axes=(1, 2))
    intensity = np.mean(field.real ** 2 + field.imag ** 2, axis=0)
    floor = np.power(np.float32(10), (a.noise_floor + 0.9 * grid.along) / 10)
    decibel = 10 * np.log10(intensity + floor)
    shown = np.clip(1 + decibel / a.dynamic_range, 0, 1)
    return (shown ** a.gamma).astype(np.float32)


def display(brightness: np.ndarray, grid: Beams, acquisition: Acquisition, width: int) -> np.ndarray:
    """Convert the scan: the sector as a picture, float32 [height, width] in [0, 1], black outside."""
    a = acquisition
    spacing = a.window_width / width
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * spacing + a.shift
    z = (np.arange(round(width / a.aspect), dtype=np.float32) + 0.5) * spacing + a.top
    x, z = np.meshgrid(x.astype(np.float32), (z + a.radius).astype(np.float32))
    beam = (np.arctan2(x, z) / grid.angles[-1] + 1) * np.float32((len(brightness) - 1) / 2)
    sample = (np.hypot(x, z) - a.radius) / np.float32(grid.step)
    return ndimage.map_coordinates(brightness, [beam, sample], order=1, mode="constant", cval=0.0, prefilter=False)


def reduce_to_square(picture: np.ndarray, size: int) -> np.ndarray:
    """Pad a picture, at most as high as wide, to a square and average its blocks: uint8 [size, size]."""
    height, width = picture.shape
    above = (width - height) // 2
    square = np.pad(picture, ((above, width - height - above), (0, 0)))
    blocks = square.reshape(size, width // size, size, width // size).mean(axis=(1, 3))
    return np.round(blocks * 255).astype(np.uint8)


def _gaussian_transfer(count: int, sigma: float) -> np.ndarray:
    """Return the Fourier transform of a unit Gaussian of `sigma` grid steps, float32 [count]."""
    frequency = np.fft.fftfreq(count).astype(np.float32)
    return np.exp(-2 * (np.pi * sigma * frequency) ** 2).astype(np.float32)
