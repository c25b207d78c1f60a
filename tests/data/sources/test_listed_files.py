import unicodedata

import numpy as np
import pandas as pd
import pytest
from PIL import Image, TiffImagePlugin

from synthplanes.data.sources.listed_files import ListedFiles, find_root, on_disk, open_table, plain_name
from synthplanes.errors import UserError


def test_a_wrapping_folder_is_looked_through(tmp_path):
    (tmp_path / "SET").mkdir()
    (tmp_path / "SET" / "t.csv").touch()
    assert find_root(tmp_path, "t.csv", "do") == tmp_path / "SET"
    with pytest.raises(UserError, match="holds no u.csv, but SET/t.csv: save the table as u.csv, or else do this"):
        find_root(tmp_path, "u.csv", "do this")
    with pytest.raises(UserError, match="does not exist"):
        find_root(tmp_path / "absent", "t.csv", "do this")


def test_of_two_folders_with_a_table_none_is_passed_over(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.csv").touch()
    with pytest.raises(UserError, match="holds t.csv in test and in train"):
        find_root(tmp_path, "t.csv", "do this")


def test_the_nearest_table_below_is_taken(tmp_path):
    for name in ("deep/er/table.csv", "deep/er/old/copy/table.csv", "__MACOSX/table.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert find_root(tmp_path, "table.csv", "do this") == tmp_path / "deep" / "er"


@pytest.mark.parametrize("name", ["labels.csv", "Table.CSV", "set.xlsx"])
def test_a_table_of_another_name_is_pointed_out(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"no table.csv, but {name}: save the table as table.csv, or else do this"):
        find_root(tmp_path, "table.csv", "do this")


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "..", "/etc/passwd"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no bare file name"):
        plain_name(tmp_path, name)


# ---- paths -----------------------------------------------------------------------------------------------------

NAME = "h\u00e9art one.png"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "img").mkdir(parents=True)
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / "set" / "img" / NAME)
    return tmp_path / "set"


@pytest.mark.parametrize("path", [
    f"img/{NAME}", f"./img//{NAME}", f"img\\{NAME}", f".\\img\\{NAME}", f"img/../img/{NAME}", f"IMG/{NAME.upper()}",
    f"img/{unicodedata.normalize('NFD', NAME)}", "{root}/img/" + NAME])
def test_all_spellings_of_a_path_are_one_file(folder, path):
    path = path.replace("{root}", str(folder))
    assert on_disk(folder, [path], []) == [f"img/{NAME}"]


def test_a_file_listed_in_two_spellings_stands_in_the_table_twice(folder, make_guards):
    from synthplanes.data.preparation.guards import check_table
    (folder / "table.csv").write_text(f"path,label,patient,role\nimg/{NAME},a,1,train\nIMG\\{NAME},b,2,test\n")
    source = open_table(folder)
    findings = {finding.kind: finding.sentence for finding in check_table(source, source.missing(), make_guards())}
    assert "more than once" in findings["image_id"] and "spelled otherwise" in findings["spelling"]


def test_files_that_differ_in_letter_case_stay_two(folder):
    for name in ("a.png", "A.png", "7.png", "007.png"):
        (folder / name).touch()
    assert on_disk(folder, ["A.png", "a.png", "7.png", "007.png"], []) == ["A.png", "a.png", "7.png", "007.png"]
    (folder / "b.png").touch()
    (folder / "B.png").touch()
    assert on_disk(folder, ["B.PNG", "07.png"], []) == ["B.PNG", "07.png"]  # nobody knows which one is meant


def test_a_zip_of_windows_that_was_unpacked_elsewhere(folder):
    (folder / "img\\b.png").touch()
    assert on_disk(folder, ["img\\b.png", "img/b.png"], []) == ["img\\b.png"] * 2


@pytest.mark.parametrize("path", ["C:\\data\\a.png", "\\\\server\\share\\a.png", "http://host/a.png", "~/a.png",
                                  "..\\a.png", "file:///data/a.png", "/data/a.png"])
def test_a_path_on_another_machine_is_refused_by_its_line(folder, path):
    (folder / "table.csv").write_text(f"path,label,patient\nimg/{NAME},a,1\n{path},b,2\n")
    with pytest.raises(UserError, match="table.csv, line 3 names the image .*lies outside"):
        open_table(folder)


def test_what_pillow_misreads_in_silence_is_refused(tmp_path):
    """A signed 8-bit TIFF would be scrambled, and of several images in one PGM or PPM only the first is read."""
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    signed = TiffImagePlugin.ImageFileDirectory_v2()
    signed[339] = 2  # SampleFormat
    Image.fromarray(grey).save(tmp_path / "signed.tif", tiffinfo=signed)
    for name, pixels in (("grey.pgm", grey), ("colour.ppm", np.stack([grey] * 3, axis=2))):
        Image.fromarray(pixels).save(tmp_path / name)
        one = (tmp_path / name).read_bytes()
        (tmp_path / f"two-{name}").write_bytes(one + one)
        (tmp_path / f"line-{name}").write_bytes(one + b"\n")

    def decoded(name):
        table = pd.DataFrame({"file": [name]})
        return ListedFiles("table", ("a",), table, tmp_path).decode(0)

    with pytest.raises(UserError, match="signed.tif holds signed 8-bit values"):
        decoded("signed.tif")
    for name in ("grey.pgm", "colour.ppm"):
        assert np.array_equal(decoded(name), grey) and np.array_equal(decoded(f"line-{name}"), grey)
        with pytest.raises(UserError, match=f"two-{name} holds several images"):
            decoded(f"two-{name}")
