"""Names from a foreign table that try to be more than names, followed to every place where they are shown."""

import csv
import posixpath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from synthplanes import records
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.listed_files import open_table
from synthplanes.protocol.cells import read_cell
from synthplanes.protocol.profiles import Profile
from synthplanes.report.figures import classifiers, generators, intervals
from synthplanes.report.markdown import escaped
from synthplanes.report.results_page import PAGE, generated
from synthplanes.report.writing import write_report
from synthplanes.reproduction.checkout import flat
from synthplanes.tracking import projection
from tests import fake_checkout
from tests.small_profile import small_profile_parameters

# What the table's reader lets through; it refuses formulas, line breaks and hidden characters.
NAMES = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "| a | b |", "![x](http://127.0.0.1/p.png)",
         "[x](javascript:alert(1))", "**x** `y` # z", "$\\frac{1}{0$", "$x$ \\$y\\$", "&lt;b&gt;", "../../x", "/etc/x",
         "a//b/.", "%s {0} {}", "_x", "x" * 250, "\u062f\u0645\u0627\u063a")


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A finished profile whose classes, scanners and operators bear such names; every scanner lacks a class."""
    classes = (f"{NAMES[0]} {NAMES[2]} {NAMES[3]}", f"{NAMES[4]} {NAMES[5]} {NAMES[6]}")
    index = fake_checkout._index

    def renamed(schema, n, role):
        made = index(schema, n, role)
        scanner = np.where(made["label"] == classes[0], NAMES[1], NAMES[7])
        return made.assign(scanner=scanner, operator=scanner)[list(made.columns)]
    monkeypatch.setattr(fake_checkout, "CLASSES", classes)
    monkeypatch.setattr(fake_checkout, "_index", renamed)
    return fake_checkout.make_checkout(tmp_path), classes


def test_the_page_shows_names_and_follows_none(hostile):
    """Read by a Markdown parser: no HTML, no link and no image but our own, and tables that keep their columns."""
    parser = MarkdownIt("commonmark").enable("table")
    root, classes = hostile
    write_report(read_cell("report", fake_checkout.NAME, root))
    page = (root / "metrics" / fake_checkout.NAME / "report.md").read_text(encoding="utf-8")
    tokens = [token for block in parser.parse(page) for token in (block, *(block.children or ()))]
    assert not [token for token in tokens if token.type.startswith("html")]
    assert not [token for token in tokens if token.type == "link_open"]
    pictures = [token.attrs["src"] for token in tokens if token.type == "image"]
    assert pictures == ["real_and_synthetic.png", "contrasts.png", "learning.png", "learning_curves.png"]
    assert "no test image of" in page  # the reasons name classes, too
    text = "\n".join("".join(child.content for child in token.children) for token in tokens if token.type == "inline")
    for name in (*classes, NAMES[1], NAMES[7]):
        assert name in text and name not in page, name
    links = [token.attrs["href"] for block in parser.parse(generated(root)[PAGE]) for token in block.children or ()
             if token.type == "link_open"]
    assert links == ["../stages/README.md#arms", "../src/synthplanes/statistics/README.md#the-words",
                     "LOG.md#names-that-changed", f"{fake_checkout.NAME}/report.md", "../tests/README.md#benchmarks"]


@pytest.mark.parametrize("name", NAMES)
def test_an_escaped_name_is_read_as_itself(name):
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(f"| a | b |\n| --- | --- |\n| {escaped(name)} | 1 |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4 and "".join(child.content for child in cells[2].children) == name
    assert {child.type for child in cells[2].children} <= {"text", "text_special"}
    assert "$" not in escaped(name).replace("\\$", "")  # GitHub would typeset what stands between two of them


def test_hidden_characters_do_not_reach_the_page():
    """Weights from elsewhere say what they learned from, and no table's reader has looked at that."""
    assert escaped("a\u202eb\x1b[31m\u2066c\nd") == r"ab\[31mc d"


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
def test_figures_draw_names_as_they_are(tmp_path):
    """Half a formula would end the stage with matplotlib's traceback."""
    one = np.zeros((1, 8, 8), np.uint8)
    classifiers.confusion(tmp_path / "confusion.png", {name: np.eye(len(NAMES)) for name in NAMES[:2]}, NAMES)
    generators.real_beside_synthetic(tmp_path / "images.png", {name: one for name in NAMES},
                                     {name: one for name in NAMES})
    rows = pd.DataFrame({"label": NAMES, "estimate": 0.1, "low": 0.0, "high": 0.2, "role": "control",
                         "word": [name[:40] for name in NAMES], "refused": False})
    intervals.forest(tmp_path / "forest.png", {("real", "synthetic"): rows}, 0.02)
    intervals.levels(tmp_path / "levels.png", {name: rows[rows["label"] == name] for name in NAMES[:8]}, 0.5)
    for path in tmp_path.iterdir():
        with Image.open(path) as drawn:
            assert drawn.width * drawn.height < 50_000_000


def test_names_go_through_prepare_into_cells_and_never_into_a_path(tmp_path):
    rng, folder, out = np.random.default_rng(3), tmp_path / "set", tmp_path / "prepared"
    folder.mkdir()
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "patient", "scanner", "operator", "sub_plane"])
        for number in range(3 * len(NAMES)):
            name, patient = NAMES[number % len(NAMES)], f"{NAMES[number // 3]}{number % 3}"[-250:]
            for label in NAMES[:2]:
                file_name = f"<b>{number}{label[1]}$.png"
                Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(folder / file_name)
                table.writerow([file_name, label, patient, name, name, name])
    parameters = small_profile_parameters()
    parameters["prepare"] |= {"source": "table", "validation_fraction": 0.3}
    profile = Profile.model_validate(parameters | {"simulate": None, "budgets": {"half": 0.5}})
    counts = prepare(open_table(folder), profile, out)
    packs = {f"{name}/{file}" for name in ("development", "test", "fresh") for file in ("images.npy", "index.csv")}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == packs | {
        "classes.json", "splits.csv", "contact_sheet.png"}
    rows = pd.concat([records.read_table(out / name / "index.csv", records.INDEX) for name in ("development", "test")])
    assert set(rows["scanner"]) == set(NAMES) and set(rows["label"]) == set(NAMES[:2])
    for path in out.rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            assert not [cell for row in csv.reader(file) for cell in row if cell[:1] in "=+-@" and cell], path
    metrics = set(map(projection.metric_name, flat(counts)))
    assert len(metrics) == len(flat(counts)) > 2 * len(NAMES) and all(taken_by_mlflow(name) for name in metrics)


def taken_by_mlflow(name: str) -> bool:
    """Apply MLflow's rules for the name of a metric or parameter (mlflow/utils/validation.py)."""
    letters = name.replace("_", "").replace(".", "").replace("-", "").replace(" ", "").replace("/", "")
    return (letters.isascii() and (letters.isalnum() or not letters) and posixpath.normpath(name) == name
            and not name.startswith(("..", "/")) and name != "." and len(name) <= 250)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=12) | st.sampled_from(NAMES)
                | st.text("./", min_size=1, max_size=4).map(lambda text: text * 90),
                min_size=2, max_size=2, unique=True))
def test_mlflow_takes_every_name_and_keeps_them_apart(names):
    one, other = (projection.metric_name(f"classes.{name}.images") for name in names)
    assert one != other and taken_by_mlflow(one) and taken_by_mlflow(other)
    assert taken_by_mlflow(projection.metric_name(names[0] or "x"))
