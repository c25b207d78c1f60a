import numpy as np
import pytest

from synthplanes.data.sources.published import PUBLICATIONS, open_published
from synthplanes.errors import UserError

CSV = PUBLICATIONS["african_planes"].csv_name


def test_the_published_set(african_folder):
    source = open_published("african_planes", african_folder)
    table = source.table
    assert len(table) == 450 and len(source.missing()) == 0
    assert [int((table["role"] == role).sum()) for role in ("train", "test")] == [217, 233]
    assert len(np.unique(table["patient_id"])) == 127
    train, test = (set(table["patient_id"][table["role"] == role]) for role in ("train", "test"))
    assert not train & test


def test_patients_of_two_centres_are_two(african_folder):
    table = open_published("african_planes", african_folder).table
    assert {"Algeria-1", "Egypt-1", "Malawi-1"} <= set(table["patient_id"])


def test_every_image_decodes_grey(african_folder):
    source = open_published("african_planes", african_folder)
    for row in range(0, 450, 45):
        grey = source.decode(row)
        assert grey.dtype == np.uint8 and grey.ndim == 2 and grey.max() > 100


def test_a_lost_row_is_noticed(african_folder, tmp_path):
    lines = (african_folder / CSV).read_text().splitlines()
    (tmp_path / CSV).write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match="not the complete official table"):
        open_published("african_planes", tmp_path)
    assert len(open_published("african_planes", tmp_path, official=False).table) == 449


def test_a_changed_centre_is_noticed(african_folder, tmp_path):
    text = (african_folder / CSV).read_text()
    (tmp_path / CSV).write_text(text.replace("Algeria", "Egypt", 1))
    with pytest.raises(UserError, match="Algeria has 4. . 5. images.*48 . 52"):
        open_published("african_planes", tmp_path)
