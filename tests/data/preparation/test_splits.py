import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthplanes import records
from synthplanes.data.preparation.splits import alike_patients, budget_splits, draw_test
from synthplanes.errors import UserError
from synthplanes.protocol.cells import STAGES
from synthplanes.protocol.profiles import from_subset, read_profile, subset


def index_of(rows):
    """An INDEX table from (image, patient, label) triples."""
    return records.INDEX.frame(dict(image_id=image_id, patient_id=patient, label=label, role="train", scanner="",
                                    operator="", sub_plane="", sha256="") for image_id, patient, label in rows)


@pytest.fixture
def draw(make_profile):
    """Draw the splits of an index: its budgets, validation fraction, replicates, root seed, and whether these share."""
    def run(index, budgets, validation_fraction, replicates, root_seed, disjoint=False):
        return budget_splits(index, make_profile(budgets, replicates, root_seed, disjoint,
                                                 validation_fraction=validation_fraction))
    return run


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
    rows = table[(table["budget"] == budget) & (table["replicate"] == replicate)]
    images = rows["image_id"][rows["role"] == role] if role else rows["image_id"]
    return set(index["patient_id"][index["image_id"].isin(images)])


def test_budgets_are_nested_and_of_the_stated_size(population, draw):
    table = draw(population, FRACTIONS, 0.2, 3, 7)
    for replicate in range(3):
        scarce, half, full = (members(population, table, name, replicate) for name in FRACTIONS)
        assert scarce < half < full
        assert (len(scarce), len(half), len(full)) == (10, 50, 100)


def test_no_patient_is_on_two_sides_and_no_image_is_lost(population, draw):
    table = draw(population, FRACTIONS, 0.2, 2, 7)
    for budget in FRACTIONS:
        train, validation = (members(population, table, budget, 0, role) for role in ("train", "validation"))
        assert not train & validation
        chosen = table["image_id"][(table["budget"] == budget) & (table["replicate"] == 0)]
        expected = population["patient_id"].isin(train | validation)
        assert chosen.tolist() == population["image_id"][expected].tolist()
    assert len(members(population, table, "full", 0, "validation")) == 20


def test_every_class_is_on_both_sides_of_the_smallest_budget(population, draw):
    # Only 4 of 100 patients hold the rare class: a plain draw of 10 patients rarely holds two of them.
    label_of = population.set_index("image_id")["label"]
    for seed in range(20):
        table = draw(population, dict(scarce=0.1), 0.2, 1, seed)
        for role in ("train", "validation"):
            assert set(label_of[table["image_id"][table["role"] == role]]) == {"common", "usual", "rare"}


def test_the_draw_is_untouched_where_no_class_lacks(population, draw):
    """With all classes common the smallest budget is a uniform draw of patients."""
    common = population.assign(label="common")
    table = draw(common, dict(scarce=0.1), 0.2, 400, 0)
    patient = np.array([int(image_id.split("-")[0]) for image_id in table["image_id"]])
    drawn = np.unique(np.unique(table["replicate"].to_numpy() * 100 + patient) % 100, return_counts=True)[1]
    # 400 draws of 10 of 100: 40 each, standard deviation 6; the largest of 100 stays within 4.5 of them.
    assert drawn.sum() == 4000 and abs(drawn - 40).max() < 27


def test_the_cut_is_not_swallowed_by_one_large_patient(draw):
    # Ten patients with 3 images, one with 90 of the same class: a plain draw of 2 takes the large one in 18 %.
    rows = [(f"p{patient}", number) for patient in range(11) for number in range(90 if patient == 0 else 3)]
    table = index_of([(f"{patient}-{number}", patient, "x") for patient, number in rows])
    cut = draw(table, dict(full=1.0), 0.2, 50, 0)
    for replicate in range(50):
        assert "p0" not in members(table, cut, "full", replicate, "validation")


def test_replicates_differ_and_seeds_decide(population, draw):
    table = draw(population, FRACTIONS, 0.2, 2, 7)
    assert table.equals(draw(population, FRACTIONS, 0.2, 2, 7))
    assert members(population, table, "scarce", 0) != members(population, table, "scarce", 1)
    assert (members(population, table, "full", 0, "validation")
            != members(population, table, "full", 1, "validation"))
    assert not table.equals(draw(population, FRACTIONS, 0.2, 2, 8))


def test_interlocked_patients_still_keep_every_class_in_training(draw):
    # Each class has two patients and each patient two classes: no cut can serve all three classes twice.
    rows = [(patient, label) for patient, labels in dict(a="xy", b="yz", c="xz").items() for label in labels]
    table = index_of([(f"{patient}{label}", patient, label) for patient, label in rows])
    cut = draw(table, dict(full=1.0), 0.4, 5, 0)
    label_of = table.set_index("image_id")["label"]
    for replicate in range(5):
        train = cut["image_id"][(cut["replicate"] == replicate) & (cut["role"] == "train")]
        assert set(label_of[train]) == {"x", "y", "z"}
        assert len(members(table, cut, "full", replicate, "validation")) == 1


def test_replicates_can_have_patients_of_their_own(population, draw):
    """No patient, of training or validation, is in two replicates, and every budget has the size that it always has."""
    common = population[population["label"] != "rare"]
    budgets = dict(scarce=0.1, quarter=0.25)
    for seed in range(5):
        table = draw(common, budgets, 0.2, 4, seed, disjoint=True)
        shared = draw(common, budgets, 0.2, 4, seed)
        everybody = []
        for replicate in range(4):
            scarce, quarter = (members(common, table, name, replicate) for name in budgets)
            assert scarce < quarter and (len(scarce), len(quarter)) == (10, 25)
            everybody += sorted(quarter)
            for budget in budgets:
                sizes = [len(members(common, drawn, budget, replicate, "validation")) for drawn in (table, shared)]
                assert sizes[0] == sizes[1]
                sides = [members(common, table, budget, replicate, role) for role in ("train", "validation")]
                assert all(sides) and not set.intersection(*sides)
        assert sorted(everybody) == sorted(set(common["patient_id"]))  # each once
    drawn = [members(common, draw(common, budgets, 0.2, 4, seed, disjoint=True), "quarter", 0) for seed in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]
    assert table.equals(draw(common, budgets, 0.2, 4, seed, disjoint=True))


def test_a_class_too_rare_for_every_replicate_ends_in_a_sentence(population, draw):
    with pytest.raises(UserError) as caught:  # 4 patients have it, and 4 replicates need two each
        draw(population, dict(scarce=0.25), 0.2, 4, 0, disjoint=True)
    assert str(caught.value).startswith("class 'rare' has images of ") and "\n" not in str(caught.value)
    assert "of replicate " in str(caught.value) and "add patients or leave the class out" in str(caught.value)
    one = population.assign(label=population["label"].mask(population["patient_id"].isin(["p0", "p1"]), "one"))
    with pytest.raises(UserError, match="class 'one' has images of no patient in the development set of replicate"):
        draw(one[one["label"] != "rare"], dict(scarce=0.1), 0.2, 10, 0, disjoint=True)


def test_the_stage_reads_all_that_decides_a_draw(population, repository):
    """Splits are drawn alike from a whole profile and from the parameters that `prepare` declares."""
    whole = read_profile("phantom_64", repository / "params.yaml")
    assert whole.replication.disjoint_patients
    declared = from_subset(subset(whole, STAGES["prepare"].reads))
    index = population.assign(label="common")
    assert budget_splits(index, whole).equals(budget_splits(index, declared))


def test_what_cannot_be_split_is_refused(population, draw):
    single = population[(population["label"] != "rare") | (population["patient_id"] == "p3")]
    with pytest.raises(UserError, match="'rare' has images of a single patient"):
        draw(single, FRACTIONS, 0.2, 1, 0)
    with pytest.raises(UserError, match="smallest budget is 2 patients"):
        draw(population, dict(scarce=0.02), 0.2, 1, 0)
    with pytest.raises(ValidationError, match="scarce\n.*greater than 0"):
        draw(population, dict(scarce=0.0), 0.2, 1, 0)
    with pytest.raises(ValidationError, match="validation_fraction\n.*less than"):
        draw(population, FRACTIONS, 1.0, 1, 0)


# ---- patients with nearly equal images -----------------------------------------------------------------------------

@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=25), st.integers(0, 99), st.booleans())
def test_patients_who_are_alike_never_stand_on_two_sides(make_profile, pairs, seed, disjoint):
    table = index_of([(f"{patient}-{label}", f"p{patient}", label) for patient in range(60) for label in "xy"])
    alike = np.array([(f"p{a}", f"p{b}") for a, b in pairs], dtype=str).reshape(-1, 2)
    profile = make_profile(dict(some=0.3, more=0.5), 2, seed, disjoint, validation_fraction=0.3)
    try:
        drawn = budget_splits(table, profile, alike=alike)
    except UserError as error:  # so many are alike that no two groups are left
        assert len(pairs) > 8 and "\n" not in str(error)
        return
    for budget in ("some", "more"):
        for replicate in range(2):
            train, validation = (members(table, drawn, budget, replicate, role) for role in ("train", "validation"))
            assert train and validation
            assert not {(a, b) for a, b in alike if {a, b} & train and {a, b} & validation}
    if disjoint:
        hands = [members(table, drawn, "more", replicate) for replicate in range(2)]
        assert not [1 for a, b in alike if {a, b} & hands[0] and {a, b} & hands[1]]


def test_only_links_between_patients_change_a_draw(population, make_profile):
    profile = make_profile(FRACTIONS, 2, 7, True, validation_fraction=0.2)
    common = population[population["label"] != "rare"]
    alone, linked = np.array([["p3", "p3"]]), np.array([["p3", "p30"], ["p30", "p41"], ["p41", "p62"], ["p62", "p75"]])
    plain = budget_splits(common, profile)
    assert plain.equals(budget_splits(common, profile, alike=alone))
    assert not plain.equals(budget_splits(common, profile, alike=linked))


def test_a_drawn_test_takes_all_patients_who_are_alike(population):
    table = records.SOURCE.typed(population.reindex(columns=list(records.SOURCE.columns), fill_value=""))
    plain = draw_test(table, 0.3, 1)
    assert np.array_equal(plain, draw_test(table, 0.3, 1, np.zeros((0, 2), str)))
    alike = np.array([(f"p{patient}", f"p{patient + 50}") for patient in range(50) if patient not in (3, 30)])
    separated = 0
    for seed in range(5):
        for links, roles in ((False, draw_test(table, 0.3, seed)), (True, draw_test(table, 0.3, seed, alike))):
            role_of = dict(zip(table["patient_id"], roles, strict=True))
            apart = sum(role_of[a] != role_of[b] for a, b in alike)
            assert not (links and apart)
            separated += apart
    assert separated  # without the links pairs are separated


def test_pairs_of_patients_are_no_more_than_images():
    near = np.array([0, 0, 0, 3, 3, 5])
    pairs = alike_patients(np.array(["a", "b", "c", "d", "d", "e"]), near)
    assert pairs.tolist() == [["a", "b"], ["a", "c"]]
