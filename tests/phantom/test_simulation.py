"""The phantom: reproducible, populated like FETAL_PLANES_DB, complete in its tables."""

import numpy as np
import pytest
from pydantic import ValidationError

from synthplanes import records
from synthplanes.phantom.population import CLASSES, LABEL_NOISE
from synthplanes.phantom.simulation import LATENTS, draw_patients, simulate
from synthplanes.protocol.config import Simulate

SMALL = Simulate(difficulty="default", frame_size=32, train_patients=12, test_patients=12, fresh_images=30,
                 preset_specificity=0.25)
ROOT_SEED = 5


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL, ROOT_SEED)


@pytest.fixture(scope="module")
def many():
    """The views of a large population: the labels without the pictures."""
    large = SMALL.model_copy(update=dict(train_patients=900, test_patients=900, fresh_images=4000))
    rows = [(p.role, p.scanner, p.operator, p.number, *view) for p in draw_patients(large, 0) for view in p.views]
    return {name: np.array(column) for name, column in
            zip(("role", "scanner", "operator", "number", "label", "plane", "sub_plane"), zip(*rows, strict=True),
                strict=True)}


def same(simulated, other) -> bool:
    return np.array_equal(simulated[0], other[0]) and simulated[1].equals(other[1]) and simulated[2].equals(other[2])


def test_a_second_call_gives_the_same_bytes(small):
    assert same(simulate(SMALL, ROOT_SEED), small)


def test_the_number_of_workers_changes_nothing(small):
    assert same(simulate(SMALL, ROOT_SEED, workers=2), small)


def test_another_seed_gives_other_pictures(small):
    assert not same(simulate(SMALL, ROOT_SEED + 1), small)


def test_more_patients_leave_the_fresh_ones_as_they_are(small):
    frames, table, _ = simulate(SMALL.model_copy(update=dict(train_patients=14)), ROOT_SEED)
    assert np.array_equal(frames[table["role"] == "fresh"], small[0][small[1]["role"] == "fresh"])


def test_frames_tables_and_latents_align(small):
    frames, table, latents = small
    assert frames.shape == (len(table), 32, 32) and frames.dtype == np.uint8
    assert tuple(table) == tuple(records.SOURCE.columns) and tuple(latents) == tuple(LATENTS.columns)
    assert table["image_id"].tolist() == latents["image_id"].tolist()
    assert table["file"].tolist() == [str(i) for i in range(len(frames))]
    assert len(set(table["image_id"])) == len(frames)
    assert not any(c.split()[-1].lower() in name.lower() for c in CLASSES for name in table["image_id"])
    brain = table["label"] == "Fetal brain"
    assert np.all((table["sub_plane"] == "") == ~brain)


def test_every_frame_shows_something(small):
    frames, table, _ = small
    assert set(CLASSES) == set(table["label"])
    assert np.all(frames.reshape(len(frames), -1).std(axis=1) > 4)
    assert len({frame.tobytes() for frame in frames}) == len(frames)


def test_a_threshold_separates_standard_and_other_views(small):
    _, table, latents = small
    standard = np.isin(latents["true_plane"], CLASSES[:5])
    assert np.all(latents["off_plane"][standard] < 0.5) and np.all(latents["off_plane"][~standard] > 0.5)
    assert np.all(latents["cue"][standard] > latents["cue"][~standard].max())
    kept = table["label"] != "Other"
    assert np.all(latents["true_plane"][kept] == table["label"][kept])


def test_progress_ends_with_all(capsys):
    frames, _, _ = simulate(SMALL.model_copy(update=dict(frame_size=16, train_patients=2, test_patients=2,
                                                         fresh_images=0)), ROOT_SEED)
    assert f"phantom: {len(frames)} of {len(frames)} images" in capsys.readouterr().err


def test_patients_have_one_role_and_one_scanner(small):
    table = small[1]
    for column in ("role", "scanner", "operator"):
        assert len(set(zip(table["patient_id"], table[column], strict=True))) == len(set(table["patient_id"]))


def test_prevalences_follow_the_original(many):
    train = many["label"][many["role"] == "train"]
    shares = {label: np.mean(train == label) for label in CLASSES}
    expected = {"Other": .365, "Fetal brain": .227, "Fetal thorax": .148, "Maternal cervix": .138,
                "Fetal femur": .072, "Fetal abdomen": .050}
    assert all(abs(shares[label] - expected[label]) < 0.06 for label in CLASSES), shares
    per_patient = np.unique(many["number"][many["role"] == "train"], return_counts=True)[1]
    assert 3 <= np.median(per_patient) <= 6 and 6 <= per_patient.mean() <= 9.5
    assert 40 <= per_patient.max() <= 122


def test_fresh_patients_follow_the_training_population(many):
    train, fresh = (many["label"][many["role"] == role] for role in ("train", "fresh"))
    assert len(fresh) >= 4000
    assert all(abs(np.mean(train == label) - np.mean(fresh == label)) < 0.06 for label in CLASSES)


def test_scanner_shift_and_confounding(many):
    s10, train, test = many["scanner"] == "Voluson S10", many["role"] == "train", many["role"] == "test"
    assert len(set(many["number"][s10 & train])) == 1
    assert 0.15 < np.mean(s10[test]) < 0.27
    other = many["label"] == "Other"
    assert not np.any(other & s10 & train)
    assert np.any(other & s10 & test)
    assert 0.72 < np.mean(many["scanner"][other & train] == "Aloka") < 0.92
    assert set(many["operator"]) <= {"Op. 1", "Op. 2", "Op. 3", "Other"}


def test_label_noise_is_in_other_alone(many):
    other = many["label"] == "Other"
    assert 0.01 <= np.mean(many["plane"][other] != "Other") <= 0.03
    assert LABEL_NOISE == 0.02
    assert np.all(many["plane"][~other] == many["label"][~other])


@pytest.mark.parametrize("name, value", [("difficulty", "easy"), ("frame_size", 8), ("train_patients", 0),
                                         ("test_patients", -1), ("fresh_images", -1), ("preset_specificity", 1.5)])
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Simulate(**SMALL.model_dump() | {name: value})
