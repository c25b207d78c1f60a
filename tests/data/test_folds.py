"""Cross-validation: every patient is tested once, and teaches only the folds that do not test them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes.data.preparation.folds import folds
from synthplanes.data.preparation.splits import budget_splits
from synthplanes.errors import UserError
from synthplanes.records import INDEX, Table

NOBODY = np.zeros((0, 2), dtype=int)


def index(patients: int = 30, classes: int = 3, scanners: int = 3) -> Table:
    """Patient p has 1 + p % 4 images, of the classes p, p + 1, ...; their scanner is p modulo `scanners`."""
    return Table.of_rows(INDEX, (
        dict(image_id=f"p{p}-{i}", patient_id=f"p{p}", label="abcdefg"[(p + i) % classes], role="train",
             scanner=f"s{p % scanners}", operator="", sub_plane="", sha256="")
        for p in range(patients) for i in range(1 + p % 4)))


@settings(max_examples=30, deadline=None)
@given(st.integers(12, 60), st.integers(2, 6), st.integers(0, 5))
def test_every_patient_is_in_one_fold_and_folds_are_even(patients, number, seed):
    found = folds(index(patients), "patients", number, NOBODY, seed)
    assert len(found) == number and sorted(np.concatenate(found)) == sorted(set(index(patients)["patient_id"]))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert all(np.array_equal(a, b) for a, b in zip(found, folds(index(patients), "patients", number, NOBODY, seed)))


def test_patients_with_near_duplicates_stay_together():
    table = index()
    row_of = {name: row for row, name in enumerate(table["image_id"].tolist())}
    alike = np.array([[row_of["p0-0"], row_of["p7-0"]], [row_of["p7-1"], row_of["p11-0"]]])
    for seed in range(20):
        holding = [fold for fold in folds(table, "patients", 5, alike, seed) if "p7" in fold]
        assert {"p0", "p7", "p11"} <= set(holding[0])


def test_a_fold_is_a_scanner():
    found = folds(index(), "scanners", 3, NOBODY, 0)
    assert [sorted({int(name[1:]) % 3 for name in fold}) for fold in found] == [[0], [1], [2]]
    with pytest.raises(UserError, match="replication.generators for each of the 3 scanners"):
        folds(index(), "scanners", 5, NOBODY, 0)
    with pytest.raises(UserError, match="3 patients, .* cannot be divided into 4 folds"):
        folds(index(3), "patients", 4, NOBODY, 0)


@pytest.mark.parametrize("by, number", [("patients", 4), ("scanners", 3)])
def test_test_patients_teach_nobody_of_their_fold(by, number):
    table = index(40)
    tested = folds(table, by, number, NOBODY, 1)
    splits = budget_splits(table, {"half": 0.5, "all": 1.0}, 0.25, number, 1, tested)
    patient_of = dict(zip(table["image_id"].tolist(), table["patient_id"].tolist()))
    for budget in ("half", "all"):
        for fold in range(number):
            own = splits.select((splits["budget"] == budget) & (splits["replicate"] == fold))
            of = {role: {patient_of[name] for name in own["image_id"][own["role"] == role].tolist()}
                  for role in ("train", "validation", "test")}
            assert of["test"] == set(tested[fold].tolist()) and of["train"] and of["validation"]
            assert not of["test"] & (of["train"] | of["validation"]) and not of["train"] & of["validation"]
            if budget == "all":
                assert set.union(*of.values()) == set(patient_of.values())
    assert sorted(splits["image_id"][(splits["budget"] == "all") & (splits["role"] == "test")]) == sorted(patient_of)


def test_a_class_that_only_one_fold_holds_is_refused():
    table = index(12)
    alone = table.with_columns(label=np.where(table["patient_id"] == "p3", "rare", table["label"]))
    tested = folds(alone, "patients", 3, NOBODY, 0)
    with pytest.raises(UserError, match="without fold"):
        budget_splits(alone, {"all": 1.0}, 0.25, 3, 0, tested)
