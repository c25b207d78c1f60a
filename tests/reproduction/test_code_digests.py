"""A stage's code digest follows statements and ignores comments."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthplanes.errors import UserError
from synthplanes.reproduction.code_digests import reach, stage_digests, statements

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py"), *(ROOT / "tests").rglob("*.py")])

COMMENTED = '''"""Another title,

over several lines."""
# a comment
import os   # why


def area(width, height):
    """Other words, é."""

    # and more
    return width * height  # px
'''
PLAIN = '''import os
def area(width, height):
    return width * height
'''


def test_comments_docstrings_and_blank_lines_change_nothing():
    assert statements(COMMENTED).strip() == PLAIN.strip()


@pytest.mark.parametrize("changed", [
    PLAIN.replace("*", "+"), PLAIN.replace("os", "re"), PLAIN.replace("    return", "        return"),
    PLAIN + "x = 1\n"])
def test_a_statement_changes_it(changed):
    assert statements(changed) != statements(PLAIN)


@pytest.mark.parametrize("one, other", [
    ('x = "# no comment"', 'x = "# another"'),
    ('x = f"{1} # one"', 'x = f"{1} # two"'),
    ('x = """a\n\nb"""', 'x = """a\nb"""'),
    ('x = """a\n# b\n"""', 'x = """a\n# c\n"""'),
    ('def f():\n    return """a"""', 'def f():\n    return """b"""'),
])
def test_what_stands_in_strings_counts(one, other):
    assert statements(one) != statements(other)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_but_docstrings_is_lost_from_any_file_of_the_project(path):
    """The tree of what is left, against the tree of the whole with docstrings, also those of constants, taken out."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not (
                isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and type(line.value.value) is str)]
            if not node.body and not isinstance(node, ast.Module):
                return  # nothing but a docstring: what is left is no Python, only a digest's input
    assert ast.dump(ast.parse(statements(text))) == ast.dump(tree)


@given(st.integers(0, 10_000), st.text(st.characters(exclude_categories=("C", "Z")), max_size=20))
def test_a_comment_at_the_end_of_any_statement_changes_nothing(place, words):
    text = PLAIN + "y = area(2,\n         3)\n"
    lines = text.splitlines()
    lines[place % len(lines)] += f"  # {words}"
    assert statements("\n".join(lines) + "\n") == statements(text)


def project(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        path = folder.joinpath("src", "synthplanes", *name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text, encoding="utf-8", errors="surrogateescape")
    (folder / "src" / "synthplanes" / "__init__.py").touch()
    (folder / "draw.py").write_text(
        "import pencils\nfrom synthplanes import pens\n\ndef main():\n    from synthplanes.inks import blue\n")
    (folder / "pencils.py").write_text("z = 1\n")
    return folder


def test_the_reach_follows_imports_wherever_they_stand(tmp_path):
    folder = project(tmp_path, pens="import synthplanes.nibs.steel\n", inks="blue = 1\n", nibs__steel="x = 1\n",
                     paper="y = 2\n")
    names = {path.name for path in reach(folder / "draw.py", folder / "src")}
    assert names == {"__init__.py", "pencils.py", "pens.py", "inks.py", "steel.py"}
    before = stage_digests(folder / "draw.py", folder / "src")
    (folder / "src" / "synthplanes" / "paper.py").write_text("y = 3\n", encoding="utf-8")
    assert stage_digests(folder / "draw.py", folder / "src") == before
    (folder / "src" / "synthplanes" / "nibs" / "steel.py").write_text("x = 2\n", encoding="utf-8")
    after = stage_digests(folder / "draw.py", folder / "src")
    assert {name for name in after if after[name] != before[name]} == {"synthplanes/nibs/steel.py"}


@pytest.mark.parametrize("text, words", [
    ("from . import pens\n", "full name"), ("def (\n", "line 1"), ("x = '\udcff'\n", "utf-8.*correct it")])
def test_what_cannot_be_followed_is_said_in_a_sentence(tmp_path, text, words):
    folder = project(tmp_path, pens="", inks=text)
    with pytest.raises(UserError, match=words):
        stage_digests(folder / "draw.py", folder / "src")


def test_templates_beside_a_reached_module_count_as_they_are(tmp_path):
    folder = project(tmp_path, pens="x = 1\n", inks="blue = 1\n", nibs__steel="x = 1\n")
    for place in ("synthplanes", "synthplanes/nibs"):
        (folder / "src" / place / "templates").mkdir()
        (folder / "src" / place / "templates" / "page.md.j2").write_text("# A title\n", encoding="utf-8")
    before = stage_digests(folder / "draw.py", folder / "src")
    assert "synthplanes/templates/page.md.j2" in before and "synthplanes/nibs/templates/page.md.j2" not in before
    (folder / "src/synthplanes/templates/page.md.j2").write_text("# Another\n", encoding="utf-8")
    after = stage_digests(folder / "draw.py", folder / "src")
    assert {name for name in after if after[name] != before[name]} == {"synthplanes/templates/page.md.j2"}
