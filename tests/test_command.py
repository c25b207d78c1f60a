"""How commands end: one sentence and a status, or our own traceback."""

import subprocess
import sys

import pytest

from synthplanes.command import run
from synthplanes.errors import UserError
from synthplanes.progress import Progress


def raising(error):
    def main():
        raise error
    return main


@pytest.mark.parametrize(("main", "status", "words"), [
    (lambda: None, 0, ""), (lambda: 3, 3, ""), (raising(UserError("what, where, what to do.")), 1, "what, where"),
    (raising(KeyboardInterrupt()), 130, "interrupted")])
def test_statuses(main, status, words, capsys):
    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == status
    assert words in capsys.readouterr().err


def test_our_own_faults_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_a_stage_asks_for_its_arguments(repository):
    result = subprocess.run([sys.executable, "stages/prepare.py", "--profile", "smoke"], cwd=repository,
                            capture_output=True, text=True)
    assert result.returncode == 2 and "--raw" in result.stderr


def test_progress_says_what_is_left(capsys):
    progress = Progress("work", 4, "things", every_s=0.0)
    for done in range(5):
        progress(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("work: 1 of 4 things, about") and lines[-1].startswith("work: 4 of 4 things")
