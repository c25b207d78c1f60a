"""How every command begins and ends: its arguments, and a result or one sentence with exit status 1."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from synthplanes.errors import UserError


def stage_arguments(description: str, *keys: str, paths: tuple[str, ...]) -> argparse.Namespace:
    """The arguments of a pipeline stage: required `--key` strings and required `--path` paths."""
    parser = argparse.ArgumentParser(description=description)
    for key in keys:
        parser.add_argument(f"--{key}", required=True)
    for path in paths:
        parser.add_argument(f"--{path}", required=True, type=Path)
    return parser.parse_args()


def run(main: Callable[[], int | None]) -> None:
    """Call `main`; a `UserError` becomes one sentence on stderr and exit status 1, an interrupt status 130."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"synthplanes: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("synthplanes: interrupted; the same command goes on.", file=sys.stderr)
        sys.exit(130)
