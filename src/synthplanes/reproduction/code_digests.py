"""What the code of a stage says: a digest per module that the stage reaches, blind to comments and docstrings.

The stage `fingerprint` writes these digests, and every other stage depends on its own file of them: a changed
statement, anywhere in a stage's reach, makes the stage stale; a better comment does not cost a retraining.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from synthplanes.errors import UserError

PACKAGE = "synthplanes"


def stage_digests(script: Path, source: Path) -> dict[str, str]:
    """The SHA-256 of the statements of a stage's script and of all modules of the package that it may reach.

    `source` is the folder that holds the package. Keys are paths relative to `source`, the script's is its name;
    both use "/" and are sorted.
    """
    files = {script.name: script} | {path.relative_to(source).as_posix(): path for path in reach(script, source)}
    return {name: hashlib.sha256(statements(read(files[name])).encode()).hexdigest() for name in sorted(files)}


def reach(script: Path, source: Path) -> set[Path]:
    """All files of the package that running `script` may import, read from the text of each."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in imported_names(waiting.pop()):
            new = {file for file in _files_of(name, source) if file not in found}
            found |= new
            waiting += new
    return found


def imported_names(path: Path) -> list[str]:
    """Every dotted name that a module imports, anywhere in it; `from a import b` counts as a and as a.b."""
    names = []
    for node in ast.walk(_parsed(read(path), path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise UserError(f"{path}, line {node.lineno}: write the import with the package's full name; "
                                "the digests of stages follow no relative ones.")
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def statements(text: str) -> str:
    """Python source without its comments, docstrings and blank lines; strings keep all of theirs.

    The same for every Python that can parse the text: it cuts characters and prints nothing anew. A module that
    computes with docstrings would escape it; here only the help texts of commands read one.
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
    """The text of a source file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it from version control.") from None


def _parsed(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}: correct it before any stage can run.") from None


def _files_of(name: str, source: Path) -> Iterator[Path]:
    """The package's files that importing `name` runs: each package's __init__ and the module itself."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1) if parts[0] == PACKAGE else ():
        place = source.joinpath(*parts[:end])
        yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """(first row, column, last row, column) of each docstring; rows from 1, columns in characters."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield (first.lineno, _characters(lines[first.lineno - 1], first.col_offset),
                   first.end_lineno, _characters(lines[first.end_lineno - 1], first.end_col_offset))


def _characters(line: str, n_bytes: int) -> int:
    return len(line.encode()[:n_bytes].decode())
