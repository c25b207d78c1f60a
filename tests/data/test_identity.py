import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes.data.identity import MISSING, canonical, folded, forms, settled
from synthplanes.errors import UserError

MOST = settings(max_examples=200, deadline=None, derandomize=True)
WORDS = st.sampled_from(["", "p", "patient ", "m\u00fcller-", "\u5f20", "stra\u00dfe ", "o'brien ", "id_"])
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
ARABIC = str.maketrans("0123456789", "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669")

Person = st.tuples(WORDS, st.integers(0, 10**9))


def spell(data, word: str, number: int) -> str:
    """Draw one of the ways in which people and programs write a word and a number."""
    text = "0" * data.draw(st.integers(0, 4)) + str(number)
    if not word:
        text = data.draw(st.sampled_from(["", "+"])) + text + data.draw(st.sampled_from(["", ".0", ".00", ".", ",0"]))
    text = word.replace(" ", data.draw(st.sampled_from([" ", "  ", "\u00a0", "\t", "\u3000"]))) + text
    text = text.replace("-", data.draw(st.sampled_from("-\u2010\u2011\u2013\u2212")))
    text = text.replace("'", data.draw(st.sampled_from("'\u2019")))
    text = data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))(text)
    text = unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])), text)
    text = text.translate(data.draw(st.sampled_from([WIDE, ARABIC, {}])))
    return data.draw(st.sampled_from(["", " ", "\u00a0"])) + text + data.draw(st.sampled_from(["", " ", "\u2003"]))


@MOST
@given(Person, st.data())
def test_all_spellings_are_one_person(person, data):
    first, second = spell(data, *person), spell(data, *person)
    assert canonical(first) == canonical(second), (first, second)


@MOST
@given(Person, Person, st.data())
def test_two_persons_are_never_one(one, other, data):
    if one != other:
        assert canonical(spell(data, *one)) != canonical(spell(data, *other))


@MOST
@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_the_form_is_its_own_form(text):
    assert canonical(canonical(text)) == canonical(text) and folded(folded(text)) == folded(text)


@pytest.mark.parametrize("one, other", [
    ("7", "007"), ("7", "7.0"), ("7", "7,00"), ("7", "7.0000"), ("0", "000"), ("p7", "P007"), ("1-02", "01-2"),
    ("a  b", " A b"), ("\uff17", "7"), ("\u2167", "viii"), ("\ufb01n", "FIN"), ("a\u200db", "ab"), ("1E5", "1e05"),
])
def test_one_person(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize("one, other", [
    ("1e5", "100000"), ("7", "-7"), ("1.1", "1.10"), ("1.05", "1.5"), ("1.000", "1"), ("1,000", "1"), ("7", "70"),
    ("0", "00a"), ("p7", "7"), ("p7", "p7.0"), ("7a", "7b"), ("a b", "ab"), ("a-b", "a b"), ("a_b", "a-b"),
    ("1/2", "12"), ("0x10", "16"), ("True", "1"), ("10", "1 0"), ("1-1", "11"), ("", "0"), ("\u00e9", "e"),
    ("1,5", "1.5"), ("+", "-"),
])
def test_two_persons(one, other):
    assert canonical(one) != canonical(other)


# ---- tables ----------------------------------------------------------------------------------------------------

def table(**columns):
    rows = len(next(iter(columns.values())))
    whole = dict(patient_id=[f"q{row}" for row in range(rows)], label=["a"] * rows) | columns
    return pd.DataFrame(whole, index=range(2, rows + 2))


@pytest.mark.parametrize("column, noun", [("patient_id", "patient"), ("label", "label"), ("scanner", "scanner"),
                                          ("operator", "operator"), ("sub_plane", "sub-plane")])
def test_a_clash_stops_with_both_spellings_and_the_option(column, noun):
    words = f"t.csv spells one {noun} in several ways, 'Ab' \\(2 rows\\) and 'aB' \\(1 row\\) \\(and 1 more names\\): "
    with pytest.raises(UserError, match=words + ".*merge_spellings to true in prepare.source_options"):
        settled(table(**{column: ["aB", "Ab", "x", "X", "Ab"]}), "t.csv", merge=False)


def test_spellings_that_look_alike_are_told_apart():
    with pytest.raises(UserError, match=r"'\\xe9' \(1 row\) and 'e\\u0301' \(1 row\)"):
        settled(table(label=["\u00e9", "e\u0301"]), "t.csv", merge=False)


def test_merged_names_have_the_most_frequent_spelling():
    read = table(patient_id=["007", "7", "7", "8", "8.0"], label=["B", "b", "c", "c", "c"])
    merged = settled(read, "t.csv", merge=True)
    assert merged["patient_id"].tolist() == ["7", "7", "7", "8", "8"]
    assert merged["label"].tolist() == ["B", "B", "c", "c", "c"]
    assert merged.attrs["notes"] == [
        "merged spellings, of 2 patient names, such as '7' (2 rows) and '007' (1 row) into '7'.",
        "merged spellings, of 1 label name, such as 'B' (1 row) and 'b' (1 row) into 'B'."]


def test_a_table_without_clashes_stays_as_it_is():
    given_table = table(scanner=["GE", "", "x"])
    for merge in (False, True):
        kept = settled(given_table, "t.csv", merge)
        pd.testing.assert_frame_equal(kept, given_table)
        assert kept.attrs["notes"] == []


@pytest.mark.parametrize("word", [*MISSING, "NaN", "N/A", " NULL ", "None", "\u2013", "Unknown", "<NA>", "(null)",
                                  "#N/A", "n.a.", "??", "---", ".", "not available", "Anonymous^^", "No_Name"])
def test_words_for_missing_are_missing(word):
    with pytest.raises(UserError, match="t.csv, line 3: the patient .* a word for a missing value \\(2 rows"):
        settled(table(patient_id=["1", word, "2", word]), "t.csv", merge=True)
    words = [word] * 3
    read = settled(table(scanner=["GE", word, ""], operator=words, label=words, sub_plane=words), "t.csv", merge=False)
    assert read["scanner"].tolist() == ["GE", "", ""] and read["operator"].tolist() == [""] * 3
    assert read["label"].tolist() == read["sub_plane"].tolist() == words
    scanner, operator, label = read.attrs["notes"]
    assert label == f"the label of 3 rows is a word for a missing value ({word!r}) and is a class of its own."
    assert f"the scanner of 1 row is a word for a missing value ({word!r})" in scanner
    assert "the operator of 3 rows is" in operator


@pytest.mark.parametrize("number", ["1.23457E+11", "1,23457E+11", "1e+05"])
def test_a_number_that_a_spreadsheet_has_rounded_is_nobody(number):
    with pytest.raises(UserError, match="line 3: the patient .* is a number that a spreadsheet has rounded"):
        settled(table(patient_id=["1", number]), "t.csv", merge=False)
    assert settled(table(label=["1", number]), "t.csv", merge=False)["label"].tolist() == ["1", number]


def test_forms_of_no_name():
    assert forms([]).shape == (0,) and forms(np.array(["7", "07"])).tolist() == ["7", "7"]


@pytest.mark.parametrize("one, other", [
    ("P-1x", "P1x"), ("P 1", "P_1"), ("Fetal brain", "fetal_brain"), ("1,001", "1001"), ("'101", "101"),
    ("DOE^JANE", "Doe^Jane^^^"), ("\u0420\u0410-7", "PA-7"), ("Voluson E6", "voluson-e6"), ("\u0130l\u0131", "ili"),
    ("trans-thalamic", "Transthalamic")])
def test_names_that_look_alike_are_noted_and_stay(one, other):
    read = settled(table(patient_id=["q", other, "r", one], label=["a", one, other, "a"]), "t.csv", merge=True)
    assert read["patient_id"].tolist() == ["q", other, "r", one]
    patients, labels = read.attrs["notes"]
    assert patients.startswith("1 patient name may be written in several ways, such as ") and "label" in labels
    assert ascii(one) in patients and ascii(other) in patients


def test_names_that_do_not_look_alike_are_no_note():
    names = ["1-12", "11-2", "112", "-1", "1", "1.5", "15", "A+", "A-", "a b", "a c", "7a", "70", "HER2+", "HER2-"]
    assert settled(table(patient_id=names, label=names), "t.csv", merge=False).attrs["notes"] == []
