r"""Compare names of patients, classes, scanners, operators and sub-planes as people mean them.

Two spellings are one name if their canonical forms agree. The form disregards

- how characters are coded (Unicode NFKC, so composed and decomposed letters or full-width ones agree), letter case,
  blanks beyond one between words, the kind of dash and apostrophe, and invisible joiners;
- zeros before a whole number, also inside a name, and digits of other scripts: 7 = 007, P7 = P007;
- in a value that is nothing but a number, a plus sign, and zeros after a point or comma: 7 = +7 = 7.0 = 7,00.

All else counts. Three zeros after a point or comma may be thousands, so 1.000 is not 1. Other decimals keep their
zeros, since 1.10 may be the tenth patient of a first site, and 1.05 is not 1.5. 1e5 may be a code, so it is not 100000.
"""

import re
import string
import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd

from synthplanes.errors import UserError

# What programs and people write where they know no patient, scanner or operator. As a label any of them is a class.
# Punctuation plays no part: "<NA>", "n/a" and "(null)" are among them, and so is what has nothing else, such as "--".
MISSING = ("nan", "na", "nat", "null", "none", "nil", "empty", "blank", "missing", "unknown", "notknown", "noname",
           "notavailable", "notapplicable", "undefined", "unspecified", "anon", "anonymous", "anonymized", "anonymised",
           "removed", "redacted")
_PUNCTUATION = str.maketrans("", "", string.punctuation + " ")
_PEOPLE_AND_MACHINES = ("patient_id", "scanner", "operator")
_COLUMNS = (*_PEOPLE_AND_MACHINES, "label", "sub_plane")
_ALIKE = str.maketrans({**dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
                        **dict.fromkeys("\u2018\u2019\u02bc", "'"), "\u200c": None, "\u200d": None})
_NUMBER = re.compile(r"\+?(\d+)(?:[.,](?:0{1,2}|0{4,})?)?")
_LEADING_ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?e\+\d+")  # how spreadsheets and R shorten a long number

# What a note about names that look alike disregards besides: marks beside a letter, the comma of thousands, and letters
# of other scripts that have the shape of a Latin one. 1-12 is not 11-2, and -1 not 1.
_MARK = "[\\s_.,;:/|\\\\'\"()\\[\\]^-]"
_MARKS = re.compile(rf"(?<=[^\W\d]){_MARK}+|(?<=\w){_MARK}+(?=[^\W\d])|(?<=\d)[,.' ](?=\d{{3}}(?!\d))")
_SHAPES = str.maketrans("авекмнорстухіαβεζηικμνορτυχı", "abekmhopctyxiabezhikmnoptyxi", "\u0307")


def folded(text: str) -> str:
    """Return a text without regard to coding, letter case, blanks, dashes and apostrophes; its numbers stay."""
    for form in ("NFD", "NFKC"):  # twice, since folding the case can undo the first
        text = unicodedata.normalize(form, text).casefold()
    return " ".join(unicodedata.normalize("NFKC", text.translate(_ALIKE)).split())


def canonical(name: str) -> str:
    """Return the form in which all spellings of one name agree, by the rules above."""
    text = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in folded(name))
    number = _NUMBER.fullmatch(text)
    return _LEADING_ZEROS.sub("", number[1] if number else text)


def forms(names: Iterable[str]) -> np.ndarray:
    """Return the canonical form of every name, str [N]."""
    column = pd.Series(list(names), dtype=object)
    return column.map({name: canonical(name) for name in column.unique()}).to_numpy(np.str_)


def settled(table: pd.DataFrame, where: str, merge: bool) -> pd.DataFrame:
    """Return a table in which every name has one spelling, and what is unknown is ''.

    The columns are those of `records.SOURCE`, the index holds the lines of the file `where`. Words for a missing
    scanner or operator become '', and a missing patient raises `UserError`. So do two spellings of one name, unless
    `merge`: then the one with most rows stands for all, of equals the first. `attrs["notes"]` says what was changed.
    """
    table, notes, clashes = table.copy(), [], []
    for column in (column for column in _COLUMNS if column in table):
        noun, form = column.removesuffix("_id").replace("_", "-"), forms(table[column])
        if column in _PEOPLE_AND_MACHINES:
            unknown = missing(form)
            if column == "patient_id":
                _check_patients(table[column], form, unknown, where)
            if unknown.any():
                words = ", ".join(map(repr, table[column][unknown].unique()[:5]))
                notes.append(f"the {noun} of {_rows(unknown.sum())} is a word for a missing value ({words}) and is "
                             "taken as missing.")
                table.loc[unknown, column], form = "", np.where(unknown, "", form)
        elif column == "label" and (unknown := missing(form)).any():
            words = ", ".join(map(repr, table[column][unknown].unique()[:5]))
            notes.append(f"the label of {_rows(unknown.sum())} is a word for a missing value ({words}) and is a class "
                         "of its own.")
        several = (table[column].groupby(form).transform("nunique") > 1).to_numpy()
        found = [rows.value_counts(sort=False).sort_values(ascending=False, kind="stable")
                 for _, rows in table[column][several].groupby(form[several], sort=False)]
        clashes += [(noun, spellings) for spellings in found]
        if found and merge:
            notes.append(f"merged spellings, of {len(found):,} {noun} name{'s' * (len(found) > 1)}, such as "
                         f"{_in_words(found[0])} into {found[0].index[0]!r}.")
            table[column] = table[column].replace({name: spellings.index[0] for spellings in found
                                                   for name in spellings.index[1:]})
        shapes: dict[str, dict[str, str]] = {}
        for one, name in dict(zip(form.tolist(), table[column], strict=True)).items():
            shapes.setdefault(_shape(one), {})[one] = name
        if alike := [list(names.values()) for names in shapes.values() if len(names) > 1]:
            notes.append(f"{len(alike):,} {noun} name{'s' * (len(alike) > 1)} may be written in several ways, such as "
                         f"{alike[0][0]!a} and {alike[0][1]!a}: if these are one, write one spelling.")
    if clashes and not merge:
        (noun, spellings), more = clashes[0], f" (and {len(clashes) - 1:,} more names)" * (len(clashes) > 1)
        raise UserError(f"{where} spells one {noun} in several ways, {_in_words(spellings)}{more}: write one spelling, "
                        "or set merge_spellings to true in prepare.source_options.")
    table.attrs["notes"] = notes
    return table


def missing(form: np.ndarray) -> np.ndarray:
    """Return which canonical forms (str [N]) are a word or sign for a missing value, bool [N]; '' is none."""
    return (form != "") & np.isin([name.translate(_PUNCTUATION) for name in form.tolist()], ["", *MISSING])


def _shape(form: str) -> str:
    """Return what a canonical form has in common with those that a reader would take for it."""
    return _LEADING_ZEROS.sub("", _MARKS.sub("", form.strip("'\"^()[] ").translate(_SHAPES)))


def _check_patients(names: pd.Series, form: np.ndarray, unknown: np.ndarray, where: str) -> None:
    """Refuse patients that are nobody, or perhaps several."""
    rounded = np.array([bool(_ROUNDED.fullmatch(text)) for text in form])
    for wrong, what, cure in (
            (unknown, "a word for a missing value", "fill it in or remove the line"),
            (rounded, "a number that a spreadsheet has rounded", "make the column text there, and save it again")):
        if wrong.any():
            raise UserError(f"{where}, line {names.index[wrong][0]}: the patient {names[wrong].iloc[0]!r} is {what} "
                            f"({_rows(wrong.sum())} of this kind): {cure}.")


def _in_words(spellings: pd.Series) -> str:
    """Write out spellings with their rows; those that look alike with the codes of their characters."""
    alike = len({unicodedata.normalize("NFC", name) for name in spellings.index}) == 1
    parts = [f"{ascii(name) if alike else repr(name)} ({_rows(count)})" for name, count in spellings.items()]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
