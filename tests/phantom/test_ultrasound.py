"""The acoustics, one law at a time, on uniform media."""

from dataclasses import replace

import numpy as np
import pytest

from synthplanes.phantom import ultrasound

PLAIN = ultrasound.Acquisition(
    radius=5.0, half_angle=0.6, depth=10.0, window_width=14.0, aspect=1.4, top=0.0, shift=0.0,
    axial_spread=.05, lateral_spread=.15, looks=1, dynamic_range=100.0, gain=0.0, depth_slope=0.0,
    noise_floor=-300.0, gamma=1.0)


def intensity(acquisition, level=-40.0, attenuation=None):
    """Linear intensity of a medium, with the log compression undone."""
    grid = ultrasound.beams(acquisition, 160)
    levels = np.full(grid.x.shape, level, np.float32)
    absorbed = np.zeros_like(levels) if attenuation is None else attenuation(grid).astype(np.float32)
    shown = ultrasound.echo(levels, absorbed, grid, acquisition, np.random.default_rng(0))
    return 10 ** ((shown.astype(float) - 1) * acquisition.dynamic_range / 10), grid


def test_a_uniform_medium_returns_its_level():
    assert 10 * np.log10(intensity(PLAIN)[0].mean()) == pytest.approx(-40, abs=0.4)


@pytest.mark.parametrize("looks", [1, 4])
def test_speckle_contrast_falls_with_the_root_of_the_looks(looks):
    values, _ = intensity(replace(PLAIN, looks=looks))
    assert values.std() / values.mean() == pytest.approx(looks ** -0.5, rel=0.12)


def test_bone_casts_a_shadow_and_fluid_brightens():
    for strength, expected in ((8.0, -16.0), (-1.0, 2.0)):
        values, grid = intensity(PLAIN, attenuation=lambda g, s=strength: s * ((g.along > 4) & (g.along < 6)))
        before, behind = values[grid.along < 3.8].mean(), values[grid.along > 6.2].mean()
        assert 10 * np.log10(behind / before) == pytest.approx(expected, abs=0.8)


def test_lateral_resolution_worsens_with_depth():
    values, grid = intensity(PLAIN)

    def neighbours(part):
        """Correlation of each sample with the next along the first axis."""
        return np.corrcoef(part[1:].ravel(), part[:-1].ravel())[0, 1]

    assert grid.pitch[0, -20] > 2 * grid.pitch[0, 20]
    assert neighbours(values) > 0 and neighbours(values.T) > 0
    # same correlation per beam at every depth, beams spreading apart: a lateral width that grows with depth
    assert neighbours(values[:, 20:70]) == pytest.approx(neighbours(values[:, 90:140]), abs=0.1)


def test_the_display_is_black_outside_the_sector():
    grid = ultrasound.beams(PLAIN, 96)
    picture = ultrasound.display(np.ones(grid.x.shape, np.float32), grid, PLAIN, 128)
    assert picture.shape == (91, 128)
    assert picture[0, 0] == picture[0, -1] == picture[-1, 0] == 0 and picture[45, 64] == 1


def test_the_reduction_keeps_the_mean_and_pads_above_and_below():
    picture = np.full((64, 96), 0.5, np.float32)
    square = ultrasound.reduce_to_square(picture, 32)
    assert square.shape == (32, 32) and square[0].max() == square[-1].max() == 0
    assert square.mean() == pytest.approx(128 * 64 / 96, abs=1)
