"""What a module reaches, read from its text: the import closure inside the package, and third-party names."""

import ast
from pathlib import Path

PACKAGE = "synthplanes"


def imported_names(path: Path) -> list[str]:
    """Every dotted name that `path` imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_files(name: str, source: Path) -> list[Path]:
    """The package's files that importing `name` runs: its packages' __init__ and the module itself."""
    parts, files = name.split("."), []
    if parts[0] != PACKAGE:
        return files
    for end in range(1, len(parts) + 1):
        folder = source.joinpath(*parts[:end])
        for candidate in (folder / "__init__.py", folder.with_suffix(".py")):
            if candidate.is_file():
                files.append(candidate)
    return files


def closure(path: Path, source: Path) -> set[Path]:
    """All files of the package that running `path` may reach."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for name in imported_names(waiting.pop()):
            for file in own_files(name, source):
                if file not in found:
                    found.add(file)
                    waiting.append(file)
    return found
