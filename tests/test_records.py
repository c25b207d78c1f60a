"""Tables on disk: what is written is read again, and damage is named."""

import os
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.records import SCORES, Schema, Table

SCHEMA = Schema("things", dict(name=str, count=int, share=float))
TEXT = st.text(string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=20)
ROWS = st.lists(st.fixed_dictionaries(dict(name=TEXT, count=st.integers(-2**62, 2**62),
                                           share=st.floats(allow_nan=False, allow_infinity=False))), max_size=20)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_round_trip_is_exact(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "things.csv"
    records.write_table(path, Table.of_rows(SCHEMA, rows))
    again = records.read_table(path, SCHEMA).rows()
    assert again == [dict(row) for row in rows]
    before = path.read_bytes()
    records.write_table(path, Table.of_rows(SCHEMA, again))
    assert path.read_bytes() == before


def test_select_and_replace():
    table = Table.of_rows(SCHEMA, [dict(name="a", count=1, share=.5), dict(name="b", count=2, share=.25)])
    assert table.select(table["count"] > 1).rows() == [dict(name="b", count=2, share=.25)]
    assert table.with_columns(count=[7, 8])["count"].tolist() == [7, 8] and table["count"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="surplus or missing"):
        Table(SCHEMA, dict(name=["a"], count=[1]))


@pytest.mark.parametrize(("content", "words"), [
    ("arm,arch\na,b\n", "has the columns"),
    (",".join(SCORES.columns) + "\nreal,residual,scarce,0,zero,accuracy,0.5\n", "'seed'"),
    (",".join(SCORES.columns) + "\nreal,residual\n", "'budget'"),
    ("", "has the columns"),
])
def test_damaged_tables(tmp_path, content, words):
    path = tmp_path / "scores.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        records.read_table(path, SCORES)


def test_missing_and_damaged_files(tmp_path):
    for read in (lambda p: records.read_table(p, SCORES), records.read_json, records.read_array):
        with pytest.raises(UserError, match="does not exist"):
            read(tmp_path / "nothing")
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not readable JSON"):
        records.read_json(tmp_path / "x.json")
    records.write_array(tmp_path / "x.npy", np.arange(1000))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:500])
    with pytest.raises(UserError, match="damaged"):
        records.read_array(tmp_path / "x.npy")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    records.write_json(path, {"good": 1})
    with pytest.raises(ValueError):
        records.write_json(path, {"bad": float("nan")})
    with pytest.raises(RuntimeError), records.replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert records.read_json(path) == {"good": 1} and os.listdir(tmp_path) == ["x.json"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises((UserError, FileExistsError, NotADirectoryError)):
        records.write_json(tmp_path / "file" / "x.json", {})
