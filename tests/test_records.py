"""Tables on disk: what is written is read again, and damage is named."""

import csv
import io
import os
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.records import SCORES, Schema

SCHEMA = Schema("things", dict(name=str, count=int, share=float))
TEXT = st.text(string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=20)
ROWS = st.lists(st.fixed_dictionaries(dict(name=TEXT, count=st.integers(-2**62, 2**62),
                                           share=st.floats(allow_nan=False, allow_infinity=False))), max_size=20)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_round_trip_is_exact(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "things.csv"
    records.write_table(path, SCHEMA.frame(rows), SCHEMA)
    again = records.read_table(path, SCHEMA)
    assert again.to_dict("records") == [dict(row) for row in rows]
    before = path.read_bytes()
    records.write_table(path, again, SCHEMA)
    assert path.read_bytes() == before
    by_csv = csv.DictReader(io.StringIO(before.decode("utf-8"), newline=""))
    assert [row["name"] for row in by_csv] == [row["name"] for row in rows]


def test_a_table_has_its_schemas_columns_and_types(tmp_path):
    schema = Schema("kinds", dict(name=str, count=int, share=float, right=bool))
    table = schema.frame([dict(name="", count=1, share=None, right=True, more=7), dict(name="nan", count=2, share=.5,
                                                                                    right=False, more=8)])
    assert list(table.columns) == ["name", "count", "share", "right"]
    assert table["share"].isna().tolist() == [True, False]
    records.write_table(tmp_path / "kinds.csv", table, schema)
    assert (tmp_path / "kinds.csv").read_text().splitlines()[1:] == [',1,,True', "nan,2,0.5,False"]
    again = records.read_table(tmp_path / "kinds.csv", schema)
    assert again.equals(table) and again["name"].tolist() == ["", "nan"] and again["right"].tolist() == [True, False]
    with pytest.raises(ValueError, match="surplus or missing"):
        records.write_table(tmp_path / "kinds.csv", table.drop(columns="count"), schema)
    empty = schema.frame([])
    records.write_table(tmp_path / "empty.csv", empty, schema)
    assert records.read_table(tmp_path / "empty.csv", schema).dtypes.equals(table.dtypes)


def test_sha256_tells_contents_apart(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    values = [tmp_path / "a", tmp_path / "a" / "x", np.zeros(3), np.zeros((3, 1)), np.zeros(3, np.float32), [0, 0, 0],
              "0"]
    assert len({records.sha256(value) for value in values}) == len(values)
    assert records.sha256({"a": 1, "b": 2}) == records.sha256({"b": 2, "a": 1})
    before = records.sha256(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert records.sha256(tmp_path / "a") != before
    with pytest.raises(UserError, match="nothing does not exist"):
        records.sha256(tmp_path / "nothing")


@pytest.mark.parametrize(("content", "words"), [
    ("arm,arch\na,b\n", "has the columns"),
    (",".join(SCORES.columns) + "\nreal,residual,scarce,0,zero,accuracy,0.5\n", "'seed'"),
    (",".join(SCORES.columns) + "\nreal,residual\n", "more or fewer fields"),
    ("", "not a readable scores.csv"),
    (",".join(SCORES.columns) + "\nreal,residual,scarce,0,0,accuracy,0.5,surplus\n", "more or fewer fields"),
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
