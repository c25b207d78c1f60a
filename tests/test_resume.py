"""Killed at any moment, a stage goes on where it was and ends in the bytes of an undisturbed run.

Between two changes of a stage's files nothing on disk differs, so a kill before every single change is all that can
happen. Processes are really killed (SIGKILL). By default a few of those moments are drawn at random for each
stage; `--all-kills` takes all of them. Of `track`, which writes into MLflow's database, moments are drawn by the clock,
and compared is all that the store shows.
"""

import secrets
import shutil
import signal
import time

import numpy as np
import pytest

from tests.forked import start
from tests.resumable_jobs import STAGES, make_checkout, make_inputs, run_stage, track

DRAWN = 3            # kills per stage
TRACK_KILLS = 2, 10  # drawn, and with --all-kills


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("resume") / "inputs"
    make_inputs(root)
    return root


@pytest.fixture
def rng():
    seed = secrets.randbits(32)
    print(f"kills are drawn with the seed {seed}")  # shown where the test fails
    return np.random.default_rng(seed)


def files(folder):
    """Name -> bytes, without what a killed writer leaves beside the tables of metrics/."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".part"}


def finished(function, *arguments):
    """The exit status of a process that runs a function to its end."""
    process = start(function, *arguments)
    process.join()
    return process.exitcode


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_goes_on_to_the_same_bytes(stage, inputs, tmp_path, rng, pytestconfig):
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(inputs, undisturbed)
    assert finished(run_stage, stage, undisturbed) == 0
    changes = int((undisturbed / "changes").read_text())
    (undisturbed / "changes").unlink()
    expected = files(undisturbed)
    assert changes > 5

    edges = np.linspace(0, changes, DRAWN + 1).astype(int)
    moments = range(changes) if pytestconfig.getoption("--all-kills") else rng.integers(edges[:-1], edges[1:]).tolist()
    for moment in moments:
        killed = tmp_path / "killed"
        shutil.copytree(inputs, killed)
        assert finished(run_stage, stage, killed, moment) == -signal.SIGKILL
        assert finished(run_stage, stage, killed) == 0
        (killed / "changes").unlink()
        assert files(killed) == expected, f"killed before change {moment} of {changes}"
        shutil.rmtree(killed)


def test_it_goes_on_and_does_not_begin_anew(inputs, tmp_path):
    """Killed after most of its work, a stage makes far fewer changes than from the beginning."""
    counts = []
    for place, moments in (("whole", [None]), ("killed", [7, None])):
        root = tmp_path / place
        shutil.copytree(inputs, root)
        for moment in moments:
            finished(run_stage, "train_diffusion", root, moment)
        counts.append(int((root / "changes").read_text()))
    assert counts[1] < counts[0] - 5


def test_killed_tracking_goes_on_to_the_same_store(tmp_path, rng, pytestconfig):
    make_checkout(tmp_path / "template" / "checkout")

    def begin(name):
        root = tmp_path / name / "checkout"
        shutil.copytree(tmp_path / "template" / "checkout", root)
        return root

    undisturbed = begin("undisturbed")
    finished(track, begin("warm-up"))
    began = time.monotonic()
    assert finished(track, undisturbed) == 0
    seconds = time.monotonic() - began
    expected = undisturbed.with_name("shown.json").read_bytes()
    assert expected == (tmp_path / "warm-up" / "shown.json").read_bytes()

    kills = 0
    while kills < TRACK_KILLS[pytestconfig.getoption("--all-kills")]:
        root = begin("killed")
        process = start(track, root)
        process.join(rng.uniform(0.1, 0.9) * seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
            assert finished(track, root) == 0
        assert root.with_name("shown.json").read_bytes() == expected
        shutil.rmtree(root.parent)
