"""Cross-validation: every patient is tested once, and teaches only the folds that do not test them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes.data.preparation.splits import budget_splits, folds
from synthplanes.errors import UserError
from synthplanes.records import INDEX

NOBODY = np.zeros((0, 2), dtype=object)


@pytest.fixture(scope="session")
def crossed(make_profile):
    """A profile that cross-validates by patients or scanners, in so many folds."""
    def make(by, number, root_seed=0, budgets=None):
        return make_profile(budgets, number, root_seed, cross_validation=by, validation_fraction=0.25)
    return make


def index(patients: int = 30, classes: int = 3, scanners: int = 3) -> pd.DataFrame:
    """Patient p has 1 + p % 4 images, of the classes p, p + 1, ...; their scanner is p modulo `scanners`."""
    return INDEX.frame(
        dict(image_id=f"p{p}-{i}", patient_id=f"p{p}", label="abcdefg"[(p + i) % classes], role="train",
             scanner=f"s{p % scanners}", operator="", sub_plane="", sha256="")
        for p in range(patients) for i in range(1 + p % 4))


@settings(max_examples=30, deadline=None)
@given(st.integers(12, 60), st.integers(2, 6), st.integers(0, 5))
def test_every_patient_is_in_one_fold_and_folds_are_even(crossed, patients, number, seed):
    profile = crossed("patients", number, seed)
    divided = folds(index(patients), profile, NOBODY)
    assert len(divided) == number and sorted(np.concatenate(divided)) == sorted(set(index(patients)["patient_id"]))
    assert max(map(len, divided)) - min(map(len, divided)) <= 1
    again = folds(index(patients), profile, NOBODY)
    assert all(np.array_equal(a, b) for a, b in zip(divided, again, strict=True))


def test_patients_with_near_duplicates_stay_together(crossed):
    alike = np.array([["p0", "p7"], ["p7", "p11"]], dtype=object)
    for seed in range(20):
        holding = [fold for fold in folds(index(), crossed("patients", 5, seed), alike) if "p7" in fold]
        assert {"p0", "p7", "p11"} <= set(holding[0])


def test_a_fold_is_a_scanner(crossed):
    divided = folds(index(), crossed("scanners", 3), NOBODY)
    assert [sorted({int(name[1:]) % 3 for name in fold}) for fold in divided] == [[0], [1], [2]]
    with pytest.raises(UserError, match="replication.generators for each of the 3 scanners"):
        folds(index(), crossed("scanners", 5), NOBODY)
    with pytest.raises(UserError, match="3 patients, .* cannot be divided into 4 folds"):
        folds(index(3), crossed("patients", 4), NOBODY)


def test_a_patient_of_two_scanners_is_tested_once_with_the_larger_part(crossed):
    table = index(40)
    table.loc[table["image_id"] == "p3-0", "scanner"] = "s1"     # three images more are of s0
    alike = np.array([["p3", "p4"]])                             # p4 has a single image, of s1
    divided = folds(table, crossed("scanners", 3), alike)
    assert sorted(np.concatenate(divided)) == sorted(set(table["patient_id"]))
    assert {"p3", "p4"} <= set(divided[0])
    splits = budget_splits(table, crossed("scanners", 3), divided, alike)
    tested = splits["image_id"][splits["role"] == "test"]
    assert sorted(tested) == sorted(table["image_id"])
    lonely = table.assign(scanner=["s9" if image == "p3-0" else scanner for image, scanner
                                   in zip(table["image_id"], table["scanner"], strict=True)])
    with pytest.raises(UserError, match="patients of its own for every scanner, and those of s9, .* leave it out"):
        folds(lonely, crossed("scanners", 4), NOBODY)


def test_scanners_that_cannot_be_folds_are_named(crossed):
    unknown = index().assign(scanner=lambda table: table["scanner"].where(table["patient_id"] != "p3", ""))
    with pytest.raises(UserError, match="a scanner for every image, and 4 have none: fill in the table"):
        folds(unknown, crossed("scanners", 3), NOBODY)
    with pytest.raises(UserError, match="all images are of s0: choose patients"):
        folds(index(scanners=1), crossed("scanners", 2), NOBODY)


@pytest.mark.parametrize("by, number", [("patients", 4), ("scanners", 3)])
def test_test_patients_teach_nobody_of_their_fold(crossed, by, number):
    table = index(40)
    profile = crossed(by, number, 1, {"half": 0.5, "all": 1.0})
    tested = folds(table, profile, NOBODY)
    splits = budget_splits(table, profile, tested)
    patient_of = table.set_index("image_id")["patient_id"]
    for budget in ("half", "all"):
        for fold in range(number):
            own = splits[(splits["budget"] == budget) & (splits["replicate"] == fold)]
            of = {role: set(patient_of[own["image_id"][own["role"] == role]])
                  for role in ("train", "validation", "test")}
            assert of["test"] == set(tested[fold]) and of["train"] and of["validation"]
            assert not of["test"] & (of["train"] | of["validation"]) and not of["train"] & of["validation"]
            if budget == "all":
                assert set.union(*of.values()) == set(patient_of)
    in_test = splits["image_id"][(splits["budget"] == "all") & (splits["role"] == "test")]
    assert sorted(in_test) == sorted(patient_of.index)


def test_a_class_that_only_one_fold_holds_is_refused(crossed):
    table = index(12)
    alone = table.assign(label=table["label"].mask(table["patient_id"] == "p3", "rare"))
    profile = crossed("patients", 3, budgets={"all": 1.0})
    with pytest.raises(UserError, match="without fold"):
        budget_splits(alone, profile, folds(alone, profile, NOBODY))
