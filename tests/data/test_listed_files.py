import pytest

from synthplanes.data.listed_files import find_root, plain_name, read_rows
from synthplanes.errors import UserError

CLEAN = [dict(name="x", label="one"), dict(name="y", label="two words")]


@pytest.mark.parametrize("text", [
    "name,label\nx,one\ny,two words\n",
    "\ufeffname;label\r\nx;one\r\ny;two words\r\n",
    "label ,name \none ,x\n\ntwo words , y\n",
    "name\tlabel\tmore\nx\tone\t1\ny\ttwo words\t",
])
def test_copies_of_a_table_read_the_same(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert read_rows(path, ("name", "label")) == CLEAN


@pytest.mark.parametrize("text, words", [
    ("name,etc\nx,one\n", "lacks the column.*label"),
    ("name,label\nx,one\ny\n", "line 3 has 1 values"),
    ("name,label\nx,Other, left\n", "line 2 has 3 values"),
    ("name,label\nx, \n", "line 2 has no label"),
    ("name,label\n", "lists no image"),
    ("", "lacks the column"),
    ("name,label,name\nx,one,y\n", "'name' twice"),
])
def test_faults_are_named(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_rows(path, ("name", "label"))


def test_other_encodings_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("name,label\nx,Müller\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_rows(tmp_path / "t.csv", ("name", "label"))


def test_optional_columns_are_taken_where_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("name,scanner\nx,\n")
    assert read_rows(tmp_path / "t.csv", ("name",), ("scanner", "operator")) == [dict(name="x", scanner="")]


def test_a_wrapping_folder_is_looked_through(tmp_path):
    (tmp_path / "SET").mkdir()
    (tmp_path / "SET" / "t.csv").touch()
    assert find_root(tmp_path, "t.csv", "do") == tmp_path / "SET"
    with pytest.raises(UserError, match="holds no u.csv: do this"):
        find_root(tmp_path, "u.csv", "do this")
    with pytest.raises(UserError, match="does not exist"):
        find_root(tmp_path / "absent", "t.csv", "do this")


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "..", "/etc/passwd"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no bare file name"):
        plain_name(tmp_path, name)
