import pytest

from synthplanes.data.sources.listed_files import find_root, plain_name, read_rows
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
    assert read_rows(path, ("name", "label")).to_dict("records") == CLEAN


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
    read = read_rows(tmp_path / "t.csv", ("name",), ("scanner", "operator"))
    assert read.to_dict("records") == [dict(name="x", scanner="")]


def test_a_wrapping_folder_is_looked_through(tmp_path):
    (tmp_path / "SET").mkdir()
    (tmp_path / "SET" / "t.csv").touch()
    assert find_root(tmp_path, "t.csv", "do") == tmp_path / "SET"
    with pytest.raises(UserError, match="holds no u.csv: do this"):
        find_root(tmp_path, "u.csv", "do this")
    with pytest.raises(UserError, match="does not exist"):
        find_root(tmp_path / "absent", "t.csv", "do this")


@pytest.mark.parametrize("value, words", [
    ('=HYPERLINK(""http://x"")', "takes for a formula"), ("@SUM(1)", "takes for a formula"),
    ("+cmd|'/C calc'!A0", "formula"),
    ("-2+3", "formula"), ("\uff1d1+1", "formula"),
    ("a\nb", "invisible character U\\+000A"), ("a\u2028b", "U\\+2028"), ("a\x1b[31mb", "U\\+001B"),
    ("a\0b", "U\\+0000"),
    ("\u202egnp", "U\\+202E"), ("a\u200bb", "U\\+200B"), ("x" * 251, "251 characters"),
])
@pytest.mark.parametrize("column", ["name", "label"])
def test_values_that_would_do_harm_later_are_refused(tmp_path, column, value, words):
    """A spreadsheet would run the formula; an invisible character makes two names look like one."""
    row = dict(name="x", label="y") | {column: value}
    (tmp_path / "t.csv").write_bytes(f'name,label\n"{row["name"]}","{row["label"]}"\n'.encode())
    with pytest.raises(UserError, match=f"line 2: the {column} .*{words}") as raised:
        read_rows(tmp_path / "t.csv", ("name", "label"))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("value", ["-1", "+3.5", "-", "\u0645\u06cc\u200c\u062e", "Op. 1", "<b>", "$x$", "a=b",
                                   "M\u00fcller", "x" * 250])
def test_other_values_stand_as_they_are(tmp_path, value):
    (tmp_path / "t.csv").write_text(f'name,label\nx,"{value}"\n', encoding="utf-8")
    assert read_rows(tmp_path / "t.csv", ("name", "label")).to_dict("records") == [dict(name="x", label=value)]


def test_a_header_that_is_no_csv_is_one_sentence(tmp_path):
    (tmp_path / "t.csv").write_text("name," + "l" * 140_000)
    with pytest.raises(UserError, match="no readable CSV"):
        read_rows(tmp_path / "t.csv", ("name", "label"))


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "..", "/etc/passwd"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no bare file name"):
        plain_name(tmp_path, name)
