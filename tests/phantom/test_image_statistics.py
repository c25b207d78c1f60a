"""The phantom looks like the real frames in six numbers; its frames of one patient resemble each other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthplanes.phantom.simulation import simulate
from synthplanes.protocol.config import Simulate
from tests.benchmarks.image_statistics import NAMES, image_statistics, intraclass_correlation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# 5th, 50th and 95th percentile of the 100 real FETAL_PLANES_DB frames and of the 450 African ones.
REAL = {"fetal_planes_db": {"grey_mean": (.051, .100, .206), "black_share": (.358, .495, .746),
                            "foreground_mean": (.150, .207, .354), "percentile_99": (.396, .567, .789),
                            "local_variation": (.316, .466, .618), "spectral_slope": (-2.81, -2.54, -2.24)},
        "african_planes": {"grey_mean": (.078, .158, .356), "black_share": (.111, .302, .468),
                           "foreground_mean": (.113, .234, .430), "percentile_99": (.357, .671, .902),
                           "local_variation": (.141, .254, .393), "spectral_slope": (-3.02, -2.74, -2.41)}}


@pytest.fixture(scope="module")
def phantom():
    frames, table, latents = simulate(Simulate(difficulty="default", frame_size=64, train_patients=40, test_patients=1,
                                               fresh_images=0, preset_specificity=0.25), root_seed=0)
    assert len(frames) >= 200
    return frames, table, latents


def test_medians_lie_inside_the_real_ranges(phantom):
    medians = np.median(image_statistics(phantom[0]), axis=0)
    for name, median in zip(NAMES, medians, strict=True):
        low, _, high = REAL["fetal_planes_db"][name]
        assert low <= median <= high, f"{name}: {median:.3f} outside {low} to {high}"


@pytest.mark.parametrize("source", REAL)
def test_the_statistics_are_those_of_the_real_table(source):
    folder = DATA / source / "Images"
    if not folder.is_dir():
        pytest.skip(f"the real images of {source} are not here")
    frames = np.stack([_square(path) for path in sorted(folder.glob("*.png"))])
    percentiles = np.percentile(image_statistics(frames), (5, 50, 95), axis=0).T
    assert np.allclose(percentiles, [REAL[source][name] for name in NAMES], atol=0.006)


def _square(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        grey = file.convert("L")
    side = max(grey.size)
    square = Image.new("L", (side, side))
    square.paste(grey, ((side - grey.width) // 2, (side - grey.height) // 2))
    return np.asarray(square.resize((64, 64), Image.Resampling.LANCZOS))


def test_statistics_of_frames_solvable_by_head():
    flat = np.full((1, 64, 64), 51, np.uint8)
    flat[:, :, :32] = 0
    grey, black, foreground, high, variation, _ = image_statistics(flat)[0]
    assert np.allclose((grey, black, foreground, high), (.1, .5, .2, .2))
    assert variation == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    assert abs(image_statistics(noise)[0, 5]) < 0.2


def test_intraclass_correlation_by_head():
    groups = np.repeat(np.arange(50), 4)
    assert intraclass_correlation(groups.astype(float), groups) == pytest.approx(1)
    unrelated = np.random.default_rng(1).normal(size=4000)
    assert abs(intraclass_correlation(unrelated, np.repeat(np.arange(400), 10))) < 0.06
    with pytest.raises(ValueError, match="group"):
        intraclass_correlation(np.arange(4.0), np.arange(4))


def test_frames_of_a_patient_resemble_each_other(phantom):
    frames, table, latents = phantom
    grey = image_statistics(frames)[:, 0]
    assert 0.05 < intraclass_correlation(grey, table["patient_id"]) < 0.8
    brain = (latents["true_plane"] == "Fetal brain").to_numpy()
    assert intraclass_correlation(latents["size_cm"].to_numpy()[brain], table["patient_id"][brain]) > 0.7
