"""Compute six statistics of ultrasound frames at 64 px, to compare simulated frames with real ones."""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

NAMES = ("grey_mean", "black_share", "foreground_mean", "percentile_99", "local_variation", "spectral_slope")
SIDE = 64


def image_statistics(frames: np.ndarray) -> np.ndarray:
    """Compute the six statistics of every frame, uint8 [N, S, S] -> float64 [N, 6], columns in the order of NAMES.

    Frames of another size than 64 are resized with Lanczos. In grey values of 0..1 the statistics are: the mean; the
    share below .02 (black); the mean of the others (foreground); the 99th percentile; the median over the foreground
    of standard deviation / mean in 5 x 5 windows; the slope of log power over log radius, with the power of the 2-d
    Fourier transform averaged over rings of whole-number radii 3 to 31.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 [N, S, S], not {frames.dtype} {frames.shape}")
    return np.array([_statistics(frame) for frame in frames]).reshape(len(frames), len(NAMES))


def _statistics(frame: np.ndarray) -> list[float]:
    if frame.shape != (SIDE, SIDE):
        frame = np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    grey = frame / 255.0
    foreground = grey >= 0.02
    mean = uniform_filter(grey, 5)
    deviation = np.sqrt(np.maximum(uniform_filter(grey * grey, 5) - mean ** 2, 0))
    power = np.fft.fftshift(np.abs(np.fft.fft2(grey)) ** 2).ravel()
    axis = np.arange(-SIDE // 2, SIDE // 2)
    ring = np.hypot(*np.meshgrid(axis, axis)).astype(int).ravel()
    radial = np.bincount(ring, power) / np.bincount(ring)
    radii = np.arange(3, 32)
    slope = np.polyfit(np.log(radii), np.log(radial[3:32] + 1e-12), 1)[0]
    if not foreground.any():
        return [grey.mean(), 1.0, 0.0, np.percentile(grey, 99), 0.0, slope]
    return [grey.mean(), 1 - foreground.mean(), grey[foreground].mean(), np.percentile(grey, 99),
            np.median((deviation / np.maximum(mean, 1e-6))[foreground]), slope]


def intraclass_correlation(values: np.ndarray, groups: np.ndarray) -> float:
    """Compute the share of variance that lies between groups, ICC(1) of the one-way layout, for unequal group sizes.

    `values` are float [N], `groups` [N] name the group of each. Groups of one count towards the spread between groups.
    Raises `ValueError` where no group has two values or there is one group only. Source: Donner & Koval 1980,
    Biometrics 36.
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count, total = len(sizes), len(values)
    if count < 2 or total == count:
        raise ValueError("an intra-class correlation needs two groups and a group with two values")
    means = np.bincount(member, values) / sizes
    between = np.sum(sizes * (means - values.mean()) ** 2) / (count - 1)
    within = np.sum((values - means[member]) ** 2) / (total - count)
    typical = (total - np.sum(sizes ** 2) / total) / (count - 1)
    return float((between - within) / (between + (typical - 1) * within))
