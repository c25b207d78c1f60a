"""How commands end: one sentence and a status, or our own traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthplanes.command import run, stage_cell
from synthplanes.errors import UserError
from synthplanes.progress import Progress
from tests.fake_checkout import NAME, make_checkout, paths


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_refusal_of_the_machine_is_one_sentence(number, capsys):
    with pytest.raises(SystemExit) as caught:
        run(raising(OSError(number, os.strerror(number), "/somewhere/file.npy")))
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.count("\n") == 1
    assert "/somewhere/file.npy" in said and os.strerror(number) in said


def test_a_reader_may_stop_reading():
    many = "from synthplanes.command import run\nrun(lambda: print('a line\\n' * 100_000))"
    with subprocess.Popen([sys.executable, "-c", many], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_our_own_faults_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_a_stage_takes_its_cell_from_its_arguments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make_checkout(tmp_path))
    monkeypatch.setattr(sys, "argv", ["train_classifiers.py", "--stage", "joint", "--profile", NAME])
    cell = stage_cell("Train.", "baseline", "joint")
    assert (cell.stage, cell.profile) == ("joint", NAME) and cell.parameters.recipe.batch_size == 8
    assert cell.out == paths(Path()).artifact("joint")
    with pytest.raises(AttributeError):  # a parameter that the stage does not read
        cell.parameters.sample  # noqa: B018
    for words, sentence in ((["--stage", "joint"], "--profile"), (["--profile", NAME], "--stage"),
                            (["--profile", NAME, "--stage", "sample"], "invalid choice")):
        monkeypatch.setattr(sys, "argv", ["train_classifiers.py", *words])
        with pytest.raises(SystemExit) as end:
            stage_cell("Train.", "baseline", "joint")
        assert end.value.code == 2 and sentence in capsys.readouterr().err


def test_progress_says_what_is_left(capsys):
    progress = Progress("work", 4, "things", every_s=0.0)
    for done in range(5):
        progress(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("work: 1 of 4 things, about") and lines[-1].startswith("work: 4 of 4 things")
