import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthplanes.data.sources.published import PUBLICATIONS, open_published
from synthplanes.errors import UserError

CSV = PUBLICATIONS["fetal_planes_db"].csv_name


@pytest.fixture
def official_lines(fetal_folder):
    return (fetal_folder / CSV).read_text().splitlines()


def write(folder, lines):
    (folder / CSV).write_text("\n".join(lines) + "\n")
    return folder


def test_the_official_table_has_all_published_counts(fetal_folder):
    source = open_published("fetal_planes_db", fetal_folder)
    table = source.table
    assert len(table) == 12400
    # Independent of the module's own counting: two facts of the data's description, computed differently.
    rows = table.to_dict("records")
    test_s10 = [row for row in rows if row["scanner"] == "Voluson S10" and row["role"] == "test"]
    assert len(test_s10) == 1071 and len({row["patient_id"] for row in test_s10}) == 90
    train_other = [row["scanner"] for row in rows if row["label"] == "Other" and row["role"] == "train"]
    assert round(100 * train_other.count("Aloka") / len(train_other)) == 84
    assert set(table["sub_plane"][table["label"] != "Fetal brain"]) == {""}


def test_the_hundred_images_decode_and_the_others_are_missing(fetal_folder):
    source = open_published("fetal_planes_db", fetal_folder)
    missing = source.missing()
    assert len(missing) == 12300
    assert source.table["image_id"][missing[0]] == "Patient00001_Plane1_1_of_15"
    here = np.setdiff1d(np.arange(12400), missing)
    assert len(here) == 100
    for row in here[:5]:
        grey = source.decode(int(row))
        assert grey.dtype == np.uint8 and min(grey.shape) >= 259
    with pytest.raises(UserError, match="Patient00001_Plane1_1_of_15.png does not exist"):
        source.decode(int(missing[0]))


def test_other_line_endings_are_accepted(fetal_folder, official_lines, tmp_path):
    (tmp_path / CSV).write_bytes("\r\n".join(official_lines).encode())
    table = open_published("fetal_planes_db", tmp_path).table
    pd.testing.assert_frame_equal(table, open_published("fetal_planes_db", fetal_folder).table)


def test_a_lost_row_is_noticed(official_lines, tmp_path):
    write(tmp_path, official_lines[:-1])
    with pytest.raises(UserError, match="all classes has 7129 \\+ 5270 images.*7129 \\+ 5271"):
        open_published("fetal_planes_db", tmp_path)
    assert len(open_published("fetal_planes_db", tmp_path, official=False).table) == 12399


@pytest.mark.parametrize("old, new, words", [
    (";Fetal femur;", ";Other;", "Other has"),
    (";Trans-thalamic;", ";Trans-cerebellum;", "brain sub-plane Trans-thalamic"),
    (";Voluson S10;", ";Aloka;", "scanner Voluson S10"),
])
def test_one_changed_value_is_noticed(official_lines, tmp_path, old, new, words):
    changed = next(number for number, line in enumerate(official_lines) if old in line)
    official_lines[changed] = official_lines[changed].replace(old, new)
    with pytest.raises(UserError, match=words):
        open_published("fetal_planes_db", write(tmp_path, official_lines))


def test_a_patient_on_both_sides_is_noticed(official_lines, tmp_path):
    # Exchange the patients of two rows with equal labels, so that every count but disjointness could survive.
    rows = [line.split(";") for line in official_lines]
    train = next(row for row in rows[1:] if row[2] == "Other" and row[6].strip() == "1" and row[5] == "Aloka")
    test = next(row for row in rows[1:] if row[2] == "Other" and row[6].strip() == "0" and row[5] == "Aloka")
    train[1], test[1] = test[1], train[1]
    with pytest.raises(UserError, match="is not the (complete )?official table"):
        open_published("fetal_planes_db", write(tmp_path, [";".join(row) for row in rows]))


def test_a_small_set_in_the_same_layout(tmp_path):
    (tmp_path / "Images").mkdir()
    Image.new("RGBA", (30, 20), (9, 9, 9, 255)).save(tmp_path / "Images" / "Patient00007_Plane3_1_of_1.png")
    write(tmp_path, ["Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train ",
                     "Patient00007_Plane3_1_of_1;7;Fetal brain;Trans-thalamic;Op. 1;Aloka;1 "])
    source = open_published("fetal_planes_db", tmp_path, official=False)
    assert source.table.to_dict("records") == [dict(
        image_id="Patient00007_Plane3_1_of_1", file="Images/Patient00007_Plane3_1_of_1.png", patient_id="7",
        label="Fetal brain", role="train", scanner="Aloka", operator="Op. 1", sub_plane="Trans-thalamic")]
    assert (source.decode(0) == 9).all() and source.decode(0).shape == (20, 30)
    with pytest.raises(UserError, match="not the complete official table"):
        open_published("fetal_planes_db", tmp_path)


def test_a_train_flag_that_is_none_is_refused(tmp_path):
    write(tmp_path, ["Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train ",
                     "P;7;Other;Not A Brain;Op. 1;Aloka;yes "])
    with pytest.raises(UserError, match="Train of P is 'yes'"):
        open_published("fetal_planes_db", tmp_path, official=False)
