"""Markdown from data: tables and numbers, with every foreign word made harmless."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

_NUMBER = re.compile(r"[-+]?[\d.,]+( \(.*\)| to .*| %)?$|unknown$|none$|$|&lt; ")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """Foreign text (class names, identifiers) as itself: no HTML, Markdown or mathematics, one line, read from left to
    right or as its letters want."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(_UNSEEN.sub("", str(text)).split()), quote=False))


def prose(text: str) -> str:
    """A sentence of our own, whose code spans stay; only HTML is taken out."""
    return html.escape(" ".join(str(text).split()), quote=False)


def code(name: str) -> str:
    """One of our own names (an arm, a stage) as a code span."""
    return f"`{name.replace('`', '').replace('|', '').replace('<', '').strip()}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are already Markdown; columns of numbers are aligned right."""
    rows = list(rows)
    numeric = [bool(rows) and all(_NUMBER.match(row[column]) for row in rows) for column in range(len(header))]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def percent(fraction: float | None) -> str:
    """0.8213 -> '82.1'."""
    return "unknown" if fraction is None else f"{100 * fraction:.1f}"


def accuracy(level: Mapping) -> str:
    """A level of verdict.json in per cent, with its 95 % interval where there is one."""
    if level["low"] is None:
        return percent(level["estimate"])
    # An accuracy lies between 0 and 100 %, whatever a symmetric interval says.
    return f"{percent(level['estimate'])} ({percent(max(0, level['low']))} to {percent(min(1, level['high']))})"


def points(difference: float | None, decimals: int = 1) -> str:
    """A signed difference in points: 0.0123 -> '+1.2'."""
    if difference is None:
        return "unknown"
    text = f"{100 * difference:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text


def p_value(value: float | None) -> str:
    """0.0312 -> '0.031', 0.0001 -> '< 0.001'."""
    return "unknown" if value is None else "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def count(number: int) -> str:
    """1234567 -> '1,234,567'."""
    return f"{number:,}"
