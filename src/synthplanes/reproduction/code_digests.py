"""Digest the code of a stage: a SHA-256 per module that it reaches, without comments and docstrings.

The stage `protocol` writes these digests, and every other stage depends on its own. A changed statement in any module
that a stage reaches makes the stage stale; a changed comment does not.
"""

import ast
import hashlib
import io
import tokenize
from functools import cache
from itertools import pairwise
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
    files = {path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name: path
             for path in modules | templates | {script}}
    texts = {name: path.read_text(encoding="utf-8") for name, path in sorted(files.items())}
    return {name: hashlib.sha256((statements(text) if name.endswith(".py") else text).encode()).hexdigest()
            for name, text in texts.items()}


def reach(script: Path, source: Path) -> set[Path]:
    """Return the files of the package and beside the script that running it may import, by the text of each file."""
    reached, waiting = {script}, [script]
    while waiting:
        for name in imported_names(waiting.pop()):
            parts = name.split(".")
            module = (source if parts[0] == PACKAGE else script.parent).joinpath(*parts)
            # An import runs the module and the __init__ of every package around it.
            new = {file for place in (module, *module.parents[:len(parts) - 1])
                   for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()} - reached
            reached |= new
            waiting += new
    return reached - {script}


@cache
def imported_names(path: Path) -> list[str]:
    """Return every dotted name that a module imports, anywhere in it; `from a import b` counts as a and as a.b."""
    try:
        tree = ast.parse(path.read_bytes())
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
    """Return Python source without comments, blank lines and strings that are a statement of their own (docstrings).

    The result is the same for every Python that can parse the text, because characters are removed and nothing is
    reformatted. Code that computes with docstrings would go unnoticed; here only the help texts of commands read
    docstrings.
    """
    lines, touched, begins = text.split("\n"), set(), True  # begins: the next token is a statement's first
    for token, following in pairwise(tokenize.generate_tokens(io.StringIO(text).readline)):
        alone = begins and token.type == tokenize.STRING and following.type in (tokenize.NEWLINE, tokenize.COMMENT)
        if alone or token.type in (tokenize.COMMENT, tokenize.NL):
            (first, column), last = token.start, token.end[0]
            lines[first - 1] = lines[first - 1][:column].rstrip()
            lines[first:last] = [""] * (last - first)
            touched |= set(range(first, last + 1))
        else:
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(line for row, line in enumerate(lines, start=1) if line or row not in touched)
