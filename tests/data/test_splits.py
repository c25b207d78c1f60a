import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.preparation import splits
from synthplanes.errors import UserError


def index_of(rows):
    """An INDEX table from (image, patient, label) triples."""
    return records.Table.of_rows(records.INDEX, [
        dict(image_id=image_id, patient_id=patient, label=label, role="train", scanner="", operator="",
             sub_plane="", sha256="") for image_id, patient, label in rows])


@pytest.fixture
def population():
    """100 patients: all have 'common', 40 have 'usual', 4 have 'rare'; 1 to 3 images each."""
    rows = []
    for patient in range(100):
        labels = ["common"] + ["usual"] * (patient % 5 < 2) + ["rare"] * (patient in (3, 30, 60, 99))
        rows += [(f"{patient}-{label}-{number}", f"p{patient}", label)
                 for label in labels for number in range(1 + patient % 3)]
    return index_of(rows)


FRACTIONS = dict(scarce=0.1, half=0.5, full=1.0)


def members(index, table, budget, replicate, role=None):
    patient_of = dict(zip(index["image_id"], index["patient_id"]))
    return {patient_of[row["image_id"]] for row in table.rows()
            if row["budget"] == budget and row["replicate"] == replicate and role in (None, row["role"])}


def test_budgets_are_nested_and_of_the_stated_size(population):
    table = splits.budget_splits(population, FRACTIONS, 0.2, 3, 7)
    for replicate in range(3):
        scarce, half, full = (members(population, table, name, replicate) for name in FRACTIONS)
        assert scarce < half < full
        assert (len(scarce), len(half), len(full)) == (10, 50, 100)


def test_no_patient_is_on_two_sides_and_no_image_is_lost(population):
    table = splits.budget_splits(population, FRACTIONS, 0.2, 2, 7)
    for budget in FRACTIONS:
        train, validation = (members(population, table, budget, 0, role) for role in ("train", "validation"))
        assert not train & validation
        chosen = [row["image_id"] for row in table.rows()
                  if row["budget"] == budget and row["replicate"] == 0]
        expected = np.isin(population["patient_id"], list(train | validation))
        assert chosen == population["image_id"][expected].tolist()
    assert len(members(population, table, "full", 0, "validation")) == 20


def test_every_class_is_on_both_sides_of_the_smallest_budget(population):
    # Only 4 of 100 patients hold the rare class: a plain draw of 10 patients rarely holds two of them.
    label_of = dict(zip(population["image_id"], population["label"]))
    for seed in range(20):
        table = splits.budget_splits(population, dict(scarce=0.1), 0.2, 1, seed)
        for role in ("train", "validation"):
            labels = {label_of[row["image_id"]] for row in table.rows() if row["role"] == role}
            assert labels == {"common", "usual", "rare"}


def test_the_draw_is_untouched_where_no_class_lacks(population):
    """With all classes common the smallest budget is a uniform draw of patients."""
    common = population.with_columns(label=["common"] * len(population))
    table = splits.budget_splits(common, dict(scarce=0.1), 0.2, 400, 0)
    patient = np.array([int(image_id.split("-")[0]) for image_id in table["image_id"].tolist()])
    drawn = np.unique(np.unique(table["replicate"] * 100 + patient) % 100, return_counts=True)[1]
    # 400 draws of 10 of 100: 40 each, standard deviation 6; the largest of 100 stays within 4.5 of them.
    assert drawn.sum() == 4000 and abs(drawn - 40).max() < 27


def test_the_cut_is_not_swallowed_by_one_large_patient():
    # Ten patients with 3 images, one with 90 of the same class: a plain draw of 2 takes the large one in 18
    # %.
    rows = [(f"p{patient}", number) for patient in range(11) for number in range(90 if patient == 0 else 3)]
    table = index_of([(f"{patient}-{number}", patient, "x") for patient, number in rows])
    cut = splits.budget_splits(table, dict(full=1.0), 0.2, 50, 0)
    for replicate in range(50):
        assert "p0" not in members(table, cut, "full", replicate, "validation")


def test_replicates_differ_and_seeds_decide(population):
    one = splits.budget_splits(population, FRACTIONS, 0.2, 2, 7)
    assert one.rows() == splits.budget_splits(population, FRACTIONS, 0.2, 2, 7).rows()
    assert members(population, one, "scarce", 0) != members(population, one, "scarce", 1)
    assert (members(population, one, "full", 0, "validation")
            != members(population, one, "full", 1, "validation"))
    assert one.rows() != splits.budget_splits(population, FRACTIONS, 0.2, 2, 8).rows()


def test_interlocked_patients_still_keep_every_class_in_training():
    # Each class has two patients and each patient two classes: no cut can serve all three classes twice.
    rows = [(patient, label) for patient, labels in dict(a="xy", b="yz", c="xz").items() for label in labels]
    table = index_of([(f"{patient}{label}", patient, label) for patient, label in rows])
    cut = splits.budget_splits(table, dict(full=1.0), 0.4, 5, 0)
    label_of = dict(zip(table["image_id"], table["label"]))
    for replicate in range(5):
        train = {label_of[row["image_id"]] for row in cut.rows()
                 if row["replicate"] == replicate and row["role"] == "train"}
        assert train == {"x", "y", "z"}
        assert len(members(table, cut, "full", replicate, "validation")) == 1


def test_what_cannot_be_split_is_refused(population):
    single = population.select(~((population["label"] == "rare") & (population["patient_id"] != "p3")))
    with pytest.raises(UserError, match="'rare' has images of a single patient"):
        splits.budget_splits(single, FRACTIONS, 0.2, 1, 0)
    with pytest.raises(UserError, match="smallest budget is 2 patients"):
        splits.budget_splits(population, dict(scarce=0.02), 0.2, 1, 0)
    with pytest.raises(UserError, match="budget 'scarce' is 0"):
        splits.budget_splits(population, dict(scarce=0.0), 0.2, 1, 0)
    with pytest.raises(UserError, match="validation fraction"):
        splits.budget_splits(population, FRACTIONS, 1.0, 1, 0)
