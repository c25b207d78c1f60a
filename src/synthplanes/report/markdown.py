"""Format numbers and tables as Markdown, and escape foreign text (class names, identifiers) in it."""

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

_NUMBER = re.compile(r"[-+]?[\d.,]+( \(.*\)| to .*| %)?$|unknown$|none$|$|&lt; ")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
UNKNOWN = "unknown"


def escaped(text: object) -> str:
    """Escape foreign text: no HTML, Markdown or mathematics, on one line, without control characters."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(_UNSEEN.sub("", str(text)).split()), quote=False))


def prose(text: object) -> str:
    """Keep the code spans of a sentence of the project, and remove HTML."""
    return html.escape(" ".join(str(text).split()), quote=False)


def code(name: str) -> str:
    """Format a name of the project (an arm, a stage) as a code span."""
    return f"`{name.replace('`', '').replace('|', '').replace('<', '').strip()}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown texts, which `aligned` lays out; without rows the result is empty."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join(lines) if len(lines) > 1 else ""


def aligned(lines: Sequence[str]) -> str:
    """Put dashes below the header of a table; columns of numbers are aligned right. Without rows the result is empty.

    No cell holds a bar between blanks, because every foreign text is escaped.
    """
    header, *rows = lines
    columns = zip(*(row[2:-2].split(" | ") for row in rows), strict=True)
    dashes = ["---:" if all(map(_NUMBER.match, column)) else "---" for column in columns]
    return "\n".join([header, f"| {' | '.join(dashes)} |", *rows]) if rows else ""


def known(value: float | None) -> TypeGuard[float]:
    """Return whether a value is a number, neither None nor NaN."""
    return value is not None and not math.isnan(value)


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Write 0.8213 as '82.1'."""
    return f"{100 * fraction:.{decimals}f}" if known(fraction) else UNKNOWN


def accuracy(estimate: float, low: float, high: float) -> str:
    """Write a score in per cent, with its interval where there is one: '82.1 (80.0 to 84.2)' or 'none'."""
    if not known(estimate):
        return "none"
    # An accuracy lies between 0 and 100 %, though a symmetric interval may exceed that.
    return percent(estimate) + (f" ({percent(max(0, low))} to {percent(min(1, high))})" if known(low) else "")


def points(difference: float | None, decimals: int = 1) -> str:
    """Write a signed difference in points: 0.0123 as '+1.2'."""
    if not known(difference):
        return UNKNOWN
    text = f"{100 * difference:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text


def difference(estimate: float | None, low: float | None, high: float | None) -> str:
    """Write a difference in points with its interval, where there is one: '+1.2 (-0.3 to +2.7)'."""
    return points(estimate) + (f" ({between(low, high)})" if known(low) else "")


def between(low: float | None, high: float | None) -> str:
    """Write the limits of a difference in points: '-0.3 to +2.7'."""
    return f"{points(low)} to {points(high)}" if known(low) else UNKNOWN


def p_value(value: float) -> str:
    """Write 0.0312 as '0.031' and 0.0001 as '< 0.001'."""
    if not known(value):
        return UNKNOWN
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def count(number: float) -> str:
    """Write 1234567 as '1,234,567'."""
    return f"{int(number):,}"


def counted(number: int, noun: str) -> str:
    """Write (2, 'scoring') as '2 scorings'."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def span(numbers: Sequence[int]) -> str:
    """Write [88, 122, 90] as '88 to 122', and equal numbers once."""
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def comparison(arm: str, reference: str) -> str:
    """Name the two arms of a contrast."""
    return f"{code(arm)} against {code(reference)}"


FILTERS: dict[str, Callable[..., object]] = {function.__name__: function for function in (
    escaped, prose, code, known, percent, accuracy, points, difference, between, p_value, count, counted, span,
    comparison)} | {"yes_no": lambda value: "yes" if value else "no"}
