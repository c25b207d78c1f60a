"""Digest the code of a stage: a SHA-256 per module that it reaches, without comments and docstrings.

The stage `protocol` writes these digests, and every other stage depends on its own. A changed statement in any module
that a stage reaches makes the stage stale; a changed comment does not.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from synthplanes.errors import UserError

PACKAGE = "synthplanes"


def stage_digests(script: Path, source: Path) -> dict[str, str]:
    """Return the SHA-256 of the statements of a script and of every module that it may reach.

    Templates count as they are: all files of a folder `templates` beside a module. `source` is the folder that holds
    the package. Keys are paths relative to `source`, and file names for the script and the modules beside it; they use
    "/" and are sorted.
    """
    modules = reach(script, source)
    templates = {path for folder in {module.parent for module in modules} for path in folder.glob("templates/*")}
    files = {script.name: script} | {
        path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name: path
        for path in modules | templates}
    texts = {name: read(path) for name, path in sorted(files.items())}
    return {name: hashlib.sha256((statements(text) if name.endswith(".py") else text).encode()).hexdigest()
            for name, text in texts.items()}


def reach(script: Path, source: Path) -> set[Path]:
    """Return the files of the package, and those beside the script, that running it may import.

    Imports are read from the text of each file, wherever they occur in it.
    """
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in imported_names(waiting.pop()):
            folder = source if name.split(".")[0] == PACKAGE else script.parent
            new = {file for file in _files_of(name, folder) if file not in reached and file != script}
            reached |= new
            waiting += new
    return reached


def imported_names(path: Path) -> list[str]:
    """Return every dotted name that a module imports, anywhere in it; `from a import b` counts as a and as a.b."""
    return _imported_names(read(path), path)


@cache
def _imported_names(text: str, path: Path) -> list[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}: correct it before any stage can run.") from None
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise UserError(f"{path}, line {node.lineno}: write the import with the package's full name; "
                                "the digests of stages follow no relative ones.")
            names += [str(node.module)] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@cache
def statements(text: str) -> str:
    """Return Python source without its comments, docstrings and blank lines; strings keep all of theirs.

    The result is the same for every Python that can parse the text, because characters are removed and nothing is
    reformatted. Code that computes with docstrings would go unnoticed; here only the help texts of commands read
    docstrings.
    """
    lines = text.split("\n")
    cuts, blank = list(_docstrings(ast.parse(text), lines)), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            cuts.append((row, column, row, column + len(token.string)))
        elif token.type == tokenize.NL and not lines[row - 1].strip():
            blank.add(row)
    touched = set()
    for first, begin, last, end in sorted(cuts, reverse=True):
        tail = lines[last - 1][end:]
        for row in range(first, last + 1):
            kept = lines[row - 1][:begin] if row == first else ""
            lines[row - 1] = (kept + (tail if row == last else "")).rstrip()
            touched.add(row)
    gone = blank | {row for row in touched if not lines[row - 1]}
    return "\n".join(line for row, line in enumerate(lines, start=1) if row not in gone)


def read(path: Path) -> str:
    """Read a source file; one that cannot be read raises `UserError`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it from version control.") from None


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` that importing `name` runs: each package's __init__ and the module itself."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:end])
        yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first row, column, last row, column) of each docstring; rows from 1, columns in characters."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None:
            last = first.end_lineno or first.lineno
            yield (first.lineno, _characters(lines[first.lineno - 1], first.col_offset),
                   last, _characters(lines[last - 1], first.end_col_offset))


def _characters(line: str, n_bytes: int | None) -> int:
    return len(line.encode()[:n_bytes].decode())
