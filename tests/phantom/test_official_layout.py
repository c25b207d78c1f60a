"""The phantom on disk is what FETAL_PLANES_DB looks like, quirks included."""

import csv
import re

import pytest
from PIL import Image

from synthplanes.errors import UserError
from synthplanes.phantom.official_layout import write_official_layout
from synthplanes.phantom.population import CLASSES
from synthplanes.protocol.config import Simulate

DIGITS = {"1": "Other", "2": "Fetal abdomen", "3": "Fetal brain", "4": "Maternal cervix", "5": "Fetal femur",
          "6": "Fetal thorax"}
SETTINGS = Simulate(difficulty="default", frame_size=32, train_patients=16, test_patients=8, fresh_images=0,
                    preset_specificity=0.25)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layout") / "raw"
    count = write_official_layout(folder, SETTINGS, root_seed=0)
    with (folder / "FETAL_PLANES_DB_data.csv").open(newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    return folder, count, rows


def test_the_table_has_the_quirks(written):
    _, count, (header, *rows) = written
    assert header == ["Image_name", "Patient_num", "Plane", "Brain_plane", "Operator", "US_Machine", "Train "]
    assert len(rows) == count
    assert {row[6] for row in rows} == {"1 ", "0 "}
    for name, patient, plane, brain_plane, *_ in rows:
        match = re.fullmatch(r"Patient(\d{5})_Plane(\d)_(\d+)_of_(\d+)", name)
        assert int(match[1]) == int(patient) and DIGITS[match[2]] == plane and int(match[3]) <= int(match[4])
        assert (brain_plane == "Not A Brain") == (plane != "Fetal brain")
    assert {row[2] for row in rows} == set(CLASSES)


def test_every_row_has_its_image_and_no_other_exists(written):
    folder, _, (_, *rows) = written
    assert {path.stem for path in (folder / "Images").glob("*.png")} == {row[0] for row in rows}


def test_images_are_not_square_mixed_in_size_some_rgba(written):
    folder, count, _ = written
    modes, sizes = [], set()
    for path in (folder / "Images").iterdir():
        with Image.open(path) as image:
            image.load()
            modes.append(image.mode)
            sizes.add(image.size)
            assert image.convert("L").getextrema()[1] > 30
    assert len(sizes) >= 3 and all(width > height for width, height in sizes)
    assert set(modes) == {"L", "RGBA"} and modes.count("RGBA") < 0.15 * count


def test_a_folder_with_content_is_refused(written):
    with pytest.raises(UserError, match="not an empty folder"):
        write_official_layout(written[0], SETTINGS, root_seed=0)


def test_fresh_patients_are_left_out(written, tmp_path):
    folder, count, _ = written
    with_fresh = SETTINGS.model_copy(update={"fresh_images": 10})
    assert write_official_layout(tmp_path / "new", with_fresh, root_seed=0) == count
    table = "FETAL_PLANES_DB_data.csv"
    assert (tmp_path / "new" / table).read_bytes() == (folder / table).read_bytes()
