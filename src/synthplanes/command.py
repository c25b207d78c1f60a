"""How every command begins and ends: its arguments, and a result or one sentence with exit status 1."""

import argparse
import errno
import os
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


# What the machine refuses, not what we did wrong: full, read-only, forbidden, broken, too many open files.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE}


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its status; what is no bug of ours ends in one sentence on stderr.

    A `UserError` and a refusal of the machine (disk full, read-only, no permission) give status 1, an interrupt 130,
    a reader who has seen enough (`| head`) 141, as a shell would report it. Other errors keep their traceback.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # while a closed pipe can still be told from a bug
        sys.exit(status)
    except UserError as error:
        _end(str(error), 1)
    except KeyboardInterrupt:
        _end("interrupted; the same command goes on.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        sys.exit(141)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = error.filename or "a file"
        _end(f"{where}: {error.strerror}: free or mend the disk or its permissions, then run the same command again.", 1)


def _end(sentence: str, status: int) -> None:
    print(f"synthplanes: {sentence}", file=sys.stderr)
    sys.exit(status)
