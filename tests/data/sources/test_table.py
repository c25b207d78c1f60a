import numpy as np
import pytest
from PIL import Image

from synthplanes.data.sources.listed_files import open_table
from synthplanes.errors import UserError


def write(folder, text):
    (folder / "table.csv").write_text(text)
    return folder


def many_patients(role=False):
    lines = ["path,label,patient" + (",role" if role else "")]
    lines += [f"p{patient}-{label}.png,{label},{patient}" + (",train" if role else "")
              for patient in range(20) for label in ("heart", "brain", "rare")
              if label != "rare" or patient < 2]
    return "\n".join(lines)


def test_roles_are_drawn_by_patient_and_reproducibly(tmp_path):
    write(tmp_path, many_patients())
    source = open_table(tmp_path, test_fraction=0.3, seed=4)
    assert source.classes == ("brain", "heart", "rare")
    sides = {role: set(source.table["patient_id"][source.table["role"] == role])
             for role in ("train", "test")}
    assert not sides["train"] & sides["test"] and len(sides["test"]) == 6
    for role in ("train", "test"):
        assert "rare" in set(source.table["label"][source.table["role"] == role])
    again = open_table(tmp_path, test_fraction=0.3, seed=4)
    assert again.table.equals(source.table)
    other = open_table(tmp_path, test_fraction=0.3, seed=5)
    assert (other.table["role"] != source.table["role"]).any()


def test_given_roles_are_kept(tmp_path):
    write(tmp_path, many_patients(role=True))
    assert set(open_table(tmp_path).table["role"]) == {"train"}


def test_optional_columns_and_image_modes(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.full((4, 6), 7, np.uint16)).save(tmp_path / "deep" / "16.png")
    Image.new("RGBA", (6, 4), (7, 7, 7, 255)).save(tmp_path / "rgba.png")
    Image.new("RGB", (6, 4), (7, 7, 7)).save(tmp_path / "rgb.tif")
    write(tmp_path, "path;label;patient;scanner;operator;sub_plane;role\ndeep/16.png;a;1;S;O;P;train\n"
                    "rgba.png;b;2;;;;test\nrgb.tif;a;3;;;;train\n")
    source = open_table(tmp_path)
    for row in range(3):
        assert source.decode(row).shape == (4, 6) and (source.decode(row) == 7).all()
    assert source.table.iloc[0].to_dict() == dict(image_id="deep/16.png", file="deep/16.png", patient_id="1",
                                          label="a", role="train", scanner="S", operator="O", sub_plane="P")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "a/../../secret.png"])
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder, f"path,label,patient\n{path},a,1\nx.png,b,2\n")
    with pytest.raises(UserError, match="lies outside"):
        open_table(folder)


def test_nor_does_a_link(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.png").touch()
    (folder / "x.png").symlink_to(tmp_path / "secret.png")
    write(folder, "path,label,patient\nx.png,a,1\ny.png,b,2\n")
    with pytest.raises(UserError, match="lies outside"):
        open_table(folder)


@pytest.mark.parametrize("text, words", [
    ("path,label\nx,a\n", "lacks the column.*patient"),
    ("path,label,patient,role\nx,a,1,validation\ny,b,2,train\n", "role of x is 'validation'"),
    ("path,label,patient\nx,a,1\ny,a,2\n", "single label 'a'"),
    ("path,label,patient\nx,a,1\ny,a,2\nz,b,2\n", "class 'b' has images of a single patient"),
])
def test_faults_are_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        open_table(write(tmp_path, text))


def test_a_test_fraction_outside_its_range_is_refused(tmp_path):
    write(tmp_path, many_patients())
    with pytest.raises(UserError, match="test_fraction is 1.0"):
        open_table(tmp_path, test_fraction=1.0)
