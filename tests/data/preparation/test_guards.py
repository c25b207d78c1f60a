import numpy as np
import pytest
from pydantic import ValidationError

from synthplanes.data.preparation.duplicates import near_groups
from synthplanes.data.preparation.guards import apply_guards, check_table
from synthplanes.data.preparation.scanning import scan
from synthplanes.data.sources.published import open_published
from synthplanes.errors import UserError

ROWS = [("p1", "a", "train"), ("p2", "b", "train"), ("p3", "a", "train"), ("p3", "b", "train"),
        ("p4", "a", "test"), ("p5", "b", "test"), ("p6", "a", "train")]

# policy: is the training image kept, does the finding stop
EFFECTS = [("drop_from_train", False, False), ("keep", True, False), ("error", True, True)]


@pytest.fixture
def guarded(make_guards):
    """Scan a source and apply the guards; keyword arguments are policies."""
    def run(source, **policies):
        found, guards = scan(source), make_guards(**policies)
        near = near_groups(found.sha256, found.thumbnails, found.trimmed, guards.near_distance_bits)
        return apply_guards(source, found, near, guards)
    return run


def kinds(result, stops):
    return {finding.kind for finding in result.findings if finding.stops is stops}


def grouped(result, kind):
    return [group.tolist() for group in result.groups[kind]]


def near_copy(frame):
    return np.clip(frame.astype(int) + 3, 0, 255).astype(np.uint8)


def test_a_clean_source_has_no_findings(make_source, guarded):
    result = guarded(make_source(ROWS))
    assert result.findings == [] and result.keep.all() and result.dropped == {}


@pytest.mark.parametrize("policy, kept, stops", EFFECTS)
def test_an_identical_image_on_two_roles(make_source, policy, kept, stops, guarded):
    source = make_source(ROWS)
    source.frames[0] = source.frames[4]
    result = guarded(source, exact_across_roles=policy)
    assert result.keep.tolist() == [kept] + [True] * 6
    assert grouped(result, "exact_across_roles") == [[4, 0]]
    assert ("exact_across_roles" in kinds(result, stops=True)) is stops


@pytest.mark.parametrize("spelling", ["P04", " p4", "\uff504", "p\u0664"])
@pytest.mark.parametrize("policy, kept, stops", EFFECTS)
def test_a_patient_on_two_roles_under_two_spellings(make_source, policy, kept, stops, spelling, guarded):
    """A source may leave that to the guard."""
    result = guarded(make_source([(spelling, "a", "train"), *ROWS[1:]]), patient_on_two_roles=policy)
    assert result.keep.tolist() == [kept] + [True] * 6
    assert ("patient_on_two_roles" in kinds(result, stops=True)) is stops


@pytest.mark.parametrize("policy, kept", [("drop_from_train", False), ("keep", True)])
def test_a_nearly_identical_image_on_two_roles(make_source, policy, kept, guarded):
    source = make_source(ROWS)
    source.frames[0] = near_copy(source.frames[4])
    result = guarded(source, near_across_roles=policy)
    assert grouped(result, "near_across_roles") == [[4, 0]]
    assert not result.groups["exact_across_roles"]
    assert result.keep.tolist() == [kept] + [True] * 6


def test_of_three_identical_training_images_the_first_stays(make_source, guarded):
    source = make_source(ROWS)
    source.frames[2] = source.frames[6] = source.frames[0]
    assert np.flatnonzero(~guarded(source).keep).tolist() == [2, 6]
    # ... and none of them if a test image is the same.
    source.frames[4] = source.frames[0]
    assert np.flatnonzero(~guarded(source, missing="use_what_is_there").keep).tolist()[:2] == [0, 2]
    assert not guarded(source).keep[[0, 2, 6]].any()


def test_test_images_are_never_dropped(make_source, guarded):
    source = make_source(ROWS + [("p7", "a", "test")])
    source.frames[7] = source.frames[4]
    result = guarded(source)
    assert result.keep.all() and grouped(result, "exact_within_role") == [[4, 7]]
    # The two numbers are one person: a clustered interval must not count them twice.
    assert result.patient_id.tolist()[4:] == ["p4", "p5", "p6", "p4"]


def test_alike_frames_of_one_patient_are_natural(make_source, guarded):
    source = make_source(ROWS)
    source.frames[3] = near_copy(source.frames[2])
    result = guarded(source, near_within_role="drop_from_train")
    assert result.keep.all() and grouped(result, "near_within_patient") == [[2, 3]]
    source.frames[6] = near_copy(source.frames[1])
    assert np.flatnonzero(~guarded(source, near_within_role="drop_from_train").keep).tolist() == [6]
    assert guarded(source).keep.all()


def test_all_training_images_of_a_test_person_go(make_source, guarded):
    """p3's first image is a test patient's image, so p3 is that patient, and the second image would leak."""
    source = make_source(ROWS)
    source.frames[2] = source.frames[4]
    result = guarded(source)
    assert result.dropped == dict(exact_across_roles=[2], linked_patients=[3])
    kept = guarded(source, exact_across_roles="keep")
    assert kept.keep.all() and kept.patient_id.tolist() == source.table["patient_id"].tolist()


def test_links_are_transitive(make_source, guarded):
    source = make_source(ROWS)
    source.frames[6] = source.frames[0]   # p6 = p1
    source.frames[3] = source.frames[6]   # p3 = p6
    assert guarded(source).patient_id.tolist() == ["p1", "p2", "p1", "p1", "p4", "p5", "p1"]


def test_a_fresh_image_yields_to_training(make_source, guarded):
    source = make_source(ROWS + [("p7", "a", "fresh")])
    source.frames[7] = source.frames[1]
    assert np.flatnonzero(~guarded(source).keep).tolist() == [7]


@pytest.mark.parametrize("policy, kept, stops", EFFECTS)
def test_a_patient_on_two_roles(make_source, policy, kept, stops, guarded):
    source = make_source(ROWS + [("p6", "b", "test")])
    result = guarded(source, patient_on_two_roles=policy)
    assert result.keep[6] == kept
    assert ("patient_on_two_roles" in kinds(result, stops)) and "first p6" in result.findings[0].sentence


def test_missing_damaged_and_empty_images(make_source, guarded):
    source = make_source(ROWS + [("p8", "a", "train"), ("p9", "b", "train")])
    source.frames[0] = None
    source.frames[7] = np.full((8, 8), 3, np.uint8)
    decode = source.decode

    def break_one(row):
        if row == 8:
            raise UserError("i8.png cannot be decoded.")
        return decode(row)

    source.decode = break_one
    result = guarded(source)
    assert kinds(result, stops=True) == {"missing", "unreadable"}
    sentences = " ".join(finding.sentence for finding in result.findings)
    assert "1 of 9 images of the table have no file, first i0.png" in sentences
    assert "2 image files cannot be used, first: i7.png is empty (every pixel is 3)" in sentences
    result = guarded(source, missing="use_what_is_there")
    assert kinds(result, stops=True) == set() and np.flatnonzero(~result.keep).tolist() == [0, 7, 8]


def test_faults_of_the_table(make_source, make_table, guarded):
    source = make_source(ROWS)
    source.table = source.table.assign(
        label=["a", "c"] + ["b"] * 5, role=["train"] * 6 + ["dev"], image_id=["x", "x", *"cdefg"])
    result = guarded(source)
    assert {"image_id", "unknown_class", "unknown_role"} <= kinds(result, stops=True)
    assert any("first x with 'c'" in finding.sentence for finding in result.findings)


def test_a_class_absent_from_a_role(make_source, guarded):
    source = make_source([row for row in ROWS if row != ("p5", "b", "test")])
    result = guarded(source)
    assert kinds(result, stops=True) == {"absent_classes"}
    assert "no image with the role test is left of b" in result.findings[0].sentence
    assert kinds(guarded(source, missing="use_what_is_there"), stops=True) == set()
    no_training = make_source([("p4", "a", "test"), ("p5", "b", "test")])
    assert kinds(guarded(no_training, missing="use_what_is_there"), stops=True) == {"absent_classes"}


def test_an_unknown_policy_is_refused(make_guards):
    for name, policy in (("near_within_role", "drop"), ("missing", "keep")):
        with pytest.raises(ValidationError, match=f"{name}\n.*should be 'error'"):
            make_guards(**{name: policy})


def test_the_african_set(african_folder, guarded):
    """The published set holds 47 pairs of identical images; 22 of them lie across its split."""
    source = open_published("african_planes", african_folder)
    result = guarded(source)
    assert {kind: len(groups) for kind, groups in result.groups.items()} == dict(
        exact_across_roles=22, exact_within_role=25, near_across_roles=3, near_within_role=6,
        near_within_patient=0)
    assert {reason: len(rows) for reason, rows in result.dropped.items()} == dict(
        exact_across_roles=22, near_across_roles=3, exact_within_role=16, linked_patients=1)
    role = source.table["role"]
    assert (result.keep[role == "test"]).all() and result.keep[role == "train"].sum() == 175
    training_patients = result.patient_id[result.keep & (role == "train")]
    assert not set(training_patients) & set(result.patient_id[role == "test"])
    assert not kinds(result, stops=True)


def test_masks_are_named_before_a_pixel_is_read(make_source, make_guards):
    for mask, image in (("benign (1)_mask.png", "benign (1).png"), ("a/7_mask_1.png", "a/7.png"),
                        ("masks/3.png", "images/3.png"), ("3-seg.png", "3.jpg"),
                        ("SET/Masks/X.PNG", "set/Images/x.png"), ("case_gt.bmp", "case.bmp"),
                        ("8 segmentation.tif", "8.tif"), ("labelsTr/3.png", "imagesTr/3.png"),
                        ("3_label.png", "3.png"), ("3-overlay.png", "3.png"), ("x/contours/3.png", "x/images/3.png")):
        source = make_source(ROWS)
        source.table.loc[[1, 3], "file"] = [mask, image]
        sentences = [finding.sentence for finding in check_table(source, source.missing(), make_guards())
                     if finding.kind == "masks" and finding.stops]
        assert sentences == [f"1 image have the name of a mask, first {mask} beside {image}: remove the rows of masks "
                             "from the table."], (mask, image)
    for mask, image in (("mask/1.png", "nomask/1.png"), ("b_mask.png", "a.png"), ("unmasked_1.png", "1.png"),
                        ("p1.png", "p2.png")):
        source = make_source(ROWS)
        source.table.loc[[1, 3], "file"] = [mask, image]
        assert not list(check_table(source, source.missing(), make_guards())), (mask, image)


def test_a_group_is_reported_once_however_large(make_source, guarded):
    """60 identical images would be 1,770 pairs."""
    source = make_source([("p1", "a", "train")] * 60 + ROWS[1:])
    for row in range(1, 60):
        source.frames[row] = source.frames[0]
    result = guarded(source)
    assert [len(group) for group in result.groups["exact_within_role"]] == [60]
    assert [finding.sentence for finding in result.findings if finding.kind == "exact_within_role"][0].startswith(
        "1 group of identical images on one role (60 images; 0 with unlike labels)")
    assert np.flatnonzero(~result.keep).tolist() == list(range(1, 60))


def test_a_chain_of_alike_images_leaves_no_link_to_the_test(make_source, guarded):
    """The first is like the second and the second like the third, a test image; all of training goes."""
    source = make_source(ROWS)
    source.frames[0] = np.ascontiguousarray(source.frames[4][::-1])
    source.frames[2] = near_copy(source.frames[4])
    assert grouped(guarded(source), "near_across_roles") == [[4, 0, 2]]
    assert np.flatnonzero(~guarded(source).keep).tolist() == [0, 2]


@pytest.mark.parametrize("images, words", [
    ([1] * 40, "each of the 40 images is of a patient of its own"), ([1] * 29, ""), ([1] * 40 + [2], ""),
    ([30, *[2] * 12], "30 of 54 images are of the patient p0: see that this is a person"), ([9, *[2] * 12], ""),
    ([88, *[6] * 300], "")])
def test_numbers_that_are_perhaps_no_patients_are_noted(make_source, make_guards, images, words):
    rows = [(f"p{patient}", "ab"[image % 2], "train")
            for patient, number in enumerate(images) for image in range(number)]
    source = make_source(rows)
    sentences = [finding.sentence for finding in check_table(source, source.missing(), make_guards())]
    assert len(sentences) == bool(words) and all(words in sentence for sentence in sentences)


@pytest.mark.parametrize("divisor, words", [(16, "no image is brighter than about"), (2, "")])
def test_a_dark_set_is_noted(make_source, guarded, divisor, words):
    source = make_source(ROWS)
    source.frames = [frame // divisor for frame in source.frames]
    dark = [finding.sentence for finding in guarded(source).findings if finding.kind == "dark"]
    assert len(dark) == bool(words) and all(words in sentence for sentence in dark)
