"""Parse the arguments of a command, and turn its faults into one sentence and an exit status."""

import argparse
import errno
import os
import sys
from collections.abc import Callable

from synthplanes.errors import UserError
from synthplanes.instructions import require
from synthplanes.protocol.cells import STAGES, Cell, read_cell


def stage_cell(description: str | None, *stages: str) -> Cell:
    """Return the cell that a stage's command line names: `--profile NAME`, and `--stage` where a script has several."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--profile", required=True, help="a profile of params.yaml")
    if len(stages) > 1:
        parser.add_argument("--stage", required=True, choices=[stage for stage in STAGES if stage in stages])
    arguments = parser.parse_args()
    cell = read_cell(arguments.stage if len(stages) > 1 else stages[0], arguments.profile)
    require(cell.instructions)
    return cell


# Faults of the machine, not of this code: full, read-only, forbidden, broken, too many open files.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE}


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its status; print faults of the input or the machine as one sentence on stderr.

    A `UserError` and a refusal of the machine (disk full, read-only, no permission) give status 1, an interrupt 130,
    a reader that closes the pipe early (`| head`) 141, as a shell would report it. Other errors keep their traceback.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # here a closed pipe can still be distinguished from a bug
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
        _end(f"{error.filename or 'a file'}: {error.strerror}: free or mend the disk or its permissions, then run the "
             "same command again.", 1)


def _end(sentence: str, status: int) -> None:
    print(f"synthplanes: {sentence}", file=sys.stderr)
    sys.exit(status)
