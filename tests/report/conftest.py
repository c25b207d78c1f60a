"""A finished profile and its report, made once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from synthplanes import records
from synthplanes.protocol.cells import read_cell
from synthplanes.report.pages import report
from synthplanes.report.results import TABLES, read_results
from synthplanes.report.writing import write_report
from tests.fake_checkout import NAME, make_checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Return a checkout whose report is written; tests leave it as it is."""
    root = make_checkout(tmp_path_factory.mktemp("finished"))
    write_report(read_cell("report", NAME, root))
    return root


class Metrics:
    """A copy of metrics/<profile>/ that a test may change."""

    def __init__(self, folder: Path):
        self.folder = folder

    def table(self, name: str) -> pd.DataFrame:
        """Read one of its tables."""
        return records.read_table(self.folder / TABLES[name].name, TABLES[name])

    def change(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Replace a table by what `change` makes of it."""
        records.write_table(self.folder / TABLES[name].name, change(self.table(name)), TABLES[name])

    def change_json(self, name: str, change: Callable[[dict], object]) -> None:
        """Let `change` alter the content of a JSON file."""
        content = records.read_json(self.folder / f"{name}.json")
        change(content)
        records.write_json(self.folder / f"{name}.json", content)

    def row(self, name: str, query: str):
        """Return the only row that a query finds in the primary metric."""
        row, = self.table(name).query(query).itertuples()
        return row

    def page(self) -> str:
        """Render report.md from what the folder holds now."""
        return report(read_results(self.folder))

    def part(self, title: str) -> str:
        """Return the part of the page below a heading that begins so."""
        return self.page().split(f"## {title}")[1].split("\n## ")[0]


@pytest.fixture
def metrics(finished, tmp_path) -> Metrics:
    """Return a copy of the finished profile's committed files."""
    return Metrics(Path(shutil.copytree(finished / "metrics" / NAME, tmp_path / "metrics" / NAME)))
