"""The phantom: reproducible, populated like FETAL_PLANES_DB, complete in its tables, clear in refusals."""

import hashlib

import numpy as np
import pytest

from synthplanes.phantom import CLASSES, LATENTS, Phantom, simulate
from synthplanes.phantom.population import LABEL_NOISE
from synthplanes.phantom.simulation import plan
from synthplanes.errors import UserError
from synthplanes.records import SOURCE

SMALL = dict(frame_size=32, train_patients=12, test_patients=12, fresh_images=30, root_seed=5)


@pytest.fixture(scope="module")
def small():
    return simulate(Phantom(**SMALL))


@pytest.fixture(scope="module")
def many():
    """Plans of a large population: the labels without the pictures."""
    people = plan(Phantom(train_patients=900, test_patients=900, fresh_images=4000))
    rows = [(p.role, p.scanner, p.operator, p.number, *image) for p in people for image in p.planned]
    return {name: np.array(column) for name, column in
            zip(("role", "scanner", "operator", "number", "label", "plane", "sub_plane"), zip(*rows))}


def digest(frames, *tables) -> str:
    text = "".join(repr(table.rows()) for table in tables)
    return hashlib.sha256(frames.tobytes() + text.encode()).hexdigest()


def test_a_second_call_gives_the_same_bytes(small):
    assert digest(*simulate(Phantom(**SMALL))) == digest(*small)


def test_the_number_of_workers_changes_nothing(small):
    assert digest(*simulate(Phantom(**SMALL, workers=2))) == digest(*small)


def test_another_seed_gives_other_pictures(small):
    assert digest(*simulate(Phantom(**{**SMALL, "root_seed": 6}))) != digest(*small)


def test_more_patients_leave_the_fresh_ones_as_they_were(small):
    frames, table, _ = simulate(Phantom(**{**SMALL, "train_patients": 14}))
    assert np.array_equal(frames[table["role"] == "fresh"], small[0][small[1]["role"] == "fresh"])


def test_frames_tables_and_latents_align(small):
    frames, table, latents = small
    assert frames.shape == (len(table), 32, 32) and frames.dtype == np.uint8
    assert table.schema is SOURCE and latents.schema is LATENTS
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


def test_off_plane_is_told_apart_by_its_threshold(small):
    _, table, latents = small
    standard = np.isin(latents["true_plane"], CLASSES[:5])
    assert np.all(latents["off_plane"][standard] < 0.5) and np.all(latents["off_plane"][~standard] > 0.5)
    assert np.all(latents["cue"][standard] > latents["cue"][~standard].max())
    kept = table["label"] != "Other"
    assert np.all(latents["true_plane"][kept] == table["label"][kept])


def test_progress_ends_with_all(small):
    seen = []
    few = Phantom(frame_size=16, train_patients=2, test_patients=2)
    simulate(few, progress=lambda *step: seen.append(step))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]


def test_patients_have_one_role_and_one_scanner(small):
    table = small[1]
    for column in ("role", "scanner", "operator"):
        assert len(set(zip(table["patient_id"], table[column]))) == len(set(table["patient_id"]))


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


@pytest.mark.parametrize("field, value, word", [
    ("difficulty", "easy", "hard"), ("frame_size", 8, "16"), ("train_patients", 0, "train_patients"),
    ("test_patients", -1, "test_patients"), ("fresh_images", -1, "fresh_images"), ("workers", 0, "workers"),
    ("preset_specificity", 1.5, "0 to 1")])
def test_bad_settings_are_refused(field, value, word):
    with pytest.raises(UserError, match=word):
        Phantom(**{field: value})
