"""Render the report of a profile as Markdown, from its committed results alone.

The page is the same on every machine: it has no date, host or absolute path, and links to committed pictures only.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.protocol.arms import ARMS
from synthplanes.protocol.contrasts import HYPOTHESES
from synthplanes.report import tables
from synthplanes.report.markdown import FILTERS, aligned, table
from synthplanes.report.results import MEAN, Results

PICTURES = {"real_and_synthetic.png": "Real images beside synthetic ones", "contrasts.png": "Differences between arms"}
OF_GENERATORS = {"learning.png": "Images of one generator after more and more training, from the same noise",
                 "learning_curves.png": "Losses, label fidelity and possible copies against images seen"}
# Nothing is escaped automatically: the templates pass every foreign text through a filter of markdown.py.
_TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=False, trim_blocks=True,
                                lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def grid(rows: pd.DataFrame, columns: Mapping[str, str], place_at: int = 1) -> str:
    """Show one line per row; `columns` maps a header to a Jinja expression of the row's fields.

    Budget and architecture stand at `place_at` where they vary.
    """
    cells = list(columns.items())
    place = {"budget": "budget" in rows and rows["budget"].nunique() > 1,
             "architecture": "arch" in rows and set(rows["arch"]) != {MEAN}}
    cells[place_at:place_at] = [(name, f"{name.removesuffix('itecture')}|escaped") for name in place if place[name]]
    expressions = [_TEMPLATES.compile_expression(cell, undefined_to_none=False) for _, cell in cells]
    return table([header for header, _ in cells], [[str(expression(row)) for expression in expressions]
                                                   for row in rows.to_dict("records")])


_TEMPLATES.filters.update(FILTERS)
_TEMPLATES.globals.update(grid=grid, tables=tables, words=words, ARMS=ARMS, HYPOTHESES=HYPOTHESES)


def render(template: str, **content: Any) -> str:
    """Fill a template of this package and lay it out; an undefined name raises `jinja2.UndefinedError`.

    A paragraph stands on one line, the rows of a table or list each on its own. The templates write tables without the
    row of dashes.
    """
    page = []
    for block in re.split(r"\n\s*\n", _TEMPLATES.get_template(template).render(**content).strip()):
        lines = [line.strip() for line in block.splitlines()]
        page.append(aligned(lines) if block[0] == "|" else ("\n" if block[0] in "-#!" else " ").join(lines))
    return "\n\n".join(filter(None, page)) + "\n"


def report(results: Results) -> str:
    """Return the content of report.md."""
    first, learning = ({name: caption for name, caption in pictures.items() if (results.folder / name).exists()}
                       for pictures in (PICTURES, OF_GENERATORS))
    return render("report.md.j2", r=results, pictures=first, learning=learning)


def write_page(path: Path, page: str) -> None:
    """Write a Markdown page."""
    with records.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
