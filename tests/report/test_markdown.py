"""Numbers and tables as Markdown."""

import pytest

from synthplanes.report.markdown import (
    accuracy,
    aligned,
    between,
    counted,
    difference,
    escaped,
    p_value,
    points,
    span,
    table,
)


def test_escaping():
    assert escaped("a|b <i>*c*</i>\n_d_ [x](y)") == r"a\|b &lt;i&gt;\*c\*&lt;/i&gt; \_d\_ \[x\]\(y\)"
    assert escaped("Op's \"view\"") == "Op's \"view\""


@pytest.mark.parametrize("value, text", [(0.0123, "+1.2"), (-0.0001, "0.0"), (None, "unknown"),
                                         (float("nan"), "unknown")])
def test_points(value, text):
    assert points(value) == text


def test_intervals():
    nan = float("nan")
    assert difference(0.01, -0.002, 0.022) == "+1.0 (-0.2 to +2.2)" and difference(0.01, nan, nan) == "+1.0"
    assert between(nan, nan) == "unknown" and accuracy(0.9, 0.8, 1.01) == "90.0 (80.0 to 100.0)"
    assert accuracy(0.9, nan, nan) == "90.0" and accuracy(nan, nan, nan) == "none"


def test_p_values_and_counts():
    assert [p_value(value) for value in (0.0312, 0.0001, float("nan"))] == ["0.031", "&lt; 0.001", "unknown"]
    assert span([122, 88, 90]) == "88 to 122" and span([1200]) == "1,200"
    assert counted(1, "scoring") == "1 scoring" and counted(2, "scoring") == "2 scorings"


def test_columns_of_numbers_are_aligned_right_and_no_rows_give_no_table():
    lines = table(("a", "b", "c"), [["1", "x", ""], ["", "2", r"y \| z"]]).splitlines()
    assert lines == ["| a | b | c |", "| 1 | x |  |", r"|  | 2 | y \| z |"]
    assert aligned(lines) == "\n".join([lines[0], "| ---: | --- | --- |", *lines[1:]])
    assert table(("a", "b"), []) == aligned(["| a | b |"]) == ""
