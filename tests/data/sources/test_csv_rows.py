import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes.data.sources.csv_rows import read_rows
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


# ---- files as spreadsheets, Windows and statistics programs write them -------------------------------------------

@pytest.mark.parametrize("content", [
    b"name,label,,\nx,one,,\ny,two words,,\n",
    b"name,label,,\nx,one\ny,two words\n",  # Excel leaves out what is empty below its first rows
    b",name,label\n0,x,one\n1,y,two words\n",  # the row numbers of pandas
    b"Name,LABEL \nx,one\ny,two words\n",
    b'"name"; "label"\rx;one\ry; "two words"\r',
    b"sep=;\r\nname;label\r\nx;one\r\ny;two words\r\n",
    b'"sep=|"\nname|label\nx|one\ny|two words\n',
    b"sep=\t\nname\tlabel\nx\tone\ny\ttwo words\n",
    "\ufeffsep=;\nname;label\nx;one\ny;two words\n".encode(),
    "name\tlabel\r\nx\tone\r\ny\ttwo words\r\n".encode("utf-16"),
    "\ufeffname;label\nx;one\ny;two words".encode("utf-16-be"),
    "name,label\nx,one\ny,two words\n".encode("utf-32"),
    b'name,label,"size\n(mm)"\nx,one,\ny,two words,5\n',
    b'name,label,size\nx,one,6"\ny,two words,5""\n',
    b"\n\nname,label\nx,one\n,\n\ny,two words\n,,\n",
], ids=repr)
def test_what_programs_write_is_read(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert read_rows(tmp_path / "t.csv", ("name", "label")).to_dict("records") == CLEAN


def test_a_column_in_other_letters_is_not_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("name,label,Scanner\nx,y,GE\n")
    assert read_rows(tmp_path / "t.csv", ("name", "label"), ("scanner",))["scanner"].tolist() == ["GE"]


@pytest.mark.parametrize("rows, line", [
    ('x,1,"6 mm\ny,2,6 mm\nz,3,"6 mm\n', 3),     # the next quote stands at the start of a value
    ('x,1,"6 mm\ny,2,6 mm\nz,3,6 mm"\n', 3),     # at its end, so that the file is well-formed
    ('x,1,"6 mm\ny,2,6 mm"\n', 3),
    ('x,1,"6 mm\ny,2,6 mm\nz,3,6 mm\n', 3),       # nowhere
    ('x,1,"6 mm\r\ny,2,5\r\nz,3,""\r\n', 3),
    ('x,1,"6 "mm" wide"\n', 3),
])
def test_an_open_quote_takes_in_no_row(tmp_path, rows, line):
    (tmp_path / "t.csv").write_bytes(b"name,label,note\nw,0,\n" + rows.encode())
    with pytest.raises(UserError, match=f"t.csv, line {line} (opens a quote|begins what is no readable CSV)"):
        read_rows(tmp_path / "t.csv", ("name", "label"))


@pytest.mark.parametrize("header, row", [("name,note,label", 'x,"6 mm,1\ny,6 mm",2'),
                                         ("note,name,label", '"6 mm,x,1\n6 mm",y,2')])
def test_nor_does_one_in_another_column(tmp_path, header, row):
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match="line 2 opens a quote that takes in whole rows, up to line 3"):
        read_rows(tmp_path / "t.csv", ("name", "label"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.text("ab ,;'\n\r", max_size=9), min_size=2, max_size=9), st.data())
def test_no_row_is_ever_lost(tmp_path_factory, notes, data):
    """A quote too many anywhere in a surplus column: all rows are read, or a sentence names a line."""
    place = data.draw(st.integers(0, len(notes) - 1))
    quoted = ['"' + note + '"' for note in notes]
    quoted[place] = data.draw(st.sampled_from(['"6 mm', '6 mm"', '"', '"6" mm', '"6 mm" ', quoted[place]]))
    path = tmp_path_factory.mktemp("quotes") / "t.csv"
    path.write_bytes("".join(["name,label,note\n", *(f"n{number},x,{note}\n" for number, note in enumerate(quoted))]
                             ).encode())
    try:
        read = read_rows(path, ("name", "label"))
    except UserError as error:
        assert "t.csv, line " in str(error) and "\n" not in str(error)
        return
    assert read["name"].tolist() == [f"n{number}" for number in range(len(notes))]
    text = path.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [text[line - 1].split(",")[0] for line in read.index] == read["name"].tolist()


def test_lines_are_counted_as_the_file_has_them(tmp_path):
    (tmp_path / "t.csv").write_text('sep=,\n\nname,label,note\nx,a,"one\ntwo, three\n\nfour"\n\ny,,\n')
    with pytest.raises(UserError, match="line 9 has no label"):
        read_rows(tmp_path / "t.csv", ("name", "label"))


@pytest.mark.parametrize("content, words", [
    (b"PK\x03\x04 xl/workbook.xml", "is an Excel workbook"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office program"),
    (b"<!DOCTYPE html><p>404</p>", "is a web page"),
    (b"\x1f\x8b\x08\0", "gzip"),
    ("name,label\nx,y\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ("name,label\nx,y\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
    ("\ufeffname,label\nx,y\n".encode("utf-16-le")[:-1], "not UTF-8 text .truncated data"),
    (b"name|label\nx|y\n", "separated by commas, semicolons or tabs"),
    (b"name,label\nx,#REF!\n", "line 2: the label '#REF!' is an error of a spreadsheet"),
    (b"name,label\nx,one,,two\n", "line 2 has 4 values"),
    (b"name,label,,\nx,one,,two\n", "line 2 has 4 values where the header names 2"),
    (b"name,label\nx,0,5\n", "line 2 has 3 values"),
    (b"# made by hand\nname,label\nx,one\n", "lacks the columns.*first line, '# made by hand', must name"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS without the file"),
    (b"name,label\n# x\n", "line 2 has 1 values"),
    (b"name,label\nx,one\nname,label\ny,two\n", "line 3 names the columns again"),
    (b'"name","label"\n"1","x","one"\n', "give every column a name"),  # the row names of R
], ids=repr)
def test_what_cannot_be_read_is_called_by_its_name(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_rows(tmp_path / "t.csv", ("name", "label"))
