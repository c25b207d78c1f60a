"""Render the report of a profile as Markdown, from its committed results alone.

The page is the same on every machine: it has no date, host or absolute path, and links to committed pictures only.
"""

import re
from pathlib import Path
from typing import Any

import jinja2

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.report import inputs, tables
from synthplanes.report.markdown import FILTERS
from synthplanes.report.results import Results

PICTURES = {"real_and_synthetic.png": "Real images beside synthetic ones", "contrasts.png": "Differences between arms"}


def render(template: str, **content: Any) -> str:
    """Fill a template of this package; an undefined name raises `jinja2.UndefinedError`.

    Nothing is escaped automatically: the templates pass every foreign text through a filter of `markdown.py`.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=False, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(FILTERS)
    environment.globals.update(tables=tables, inputs=inputs, words=words)
    blocks = re.split(r"\n\s*\n", environment.get_template(template).render(**content).strip())
    return "\n\n".join(map(_laid_out, blocks)) + "\n"


def _laid_out(block: str) -> str:
    """Put a paragraph on one line, and the rows of a table or list each on its own."""
    return (" " if block[0] not in "|-#!" else "\n").join(line.strip() for line in block.splitlines())


def report(results: Results) -> str:
    """Return the content of report.md."""
    pictures = {name: words for name, words in PICTURES.items() if (results.folder / name).exists()}
    return render("report.md.j2", r=results, pictures=pictures)


def write_page(path: Path, page: str) -> None:
    """Write a Markdown page."""
    with records.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
