"""Killed at random moments, long work goes on where it was and ends in the bytes of an undisturbed run.

The processes are really killed (SIGKILL), 51 times in all.
"""

import multiprocessing
import signal
import time

import numpy as np
import pytest
import torch
from tests.resumable_jobs import JOBS, run

from synthplanes.scratch import Scratch

KILLS = 17  # of each job


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resumable_jobs"])
    return context


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_the_bytes_are_those_of_an_undisturbed_run(name, tmp_path, processes):
    def start(place):
        process = processes.Process(target=run, args=(name, place / "scratch", place / "out"))
        process.start()
        return process

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    start(undisturbed).join()  # warms the server up
    began = time.monotonic()
    process = start(tmp_path / "timed")
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0 and files(undisturbed / "out") == files(tmp_path / "timed" / "out")

    rng, kills, states = np.random.default_rng([11, len(name)]), 0, set()
    while kills < KILLS:
        process = start(killed)
        process.join(rng.uniform(0.1, 0.9) * seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        states.add(len(files(killed / "scratch")) if (killed / "scratch").exists() else 0)
        if process.exitcode == 0:  # it was done before the kill: begin anew
            assert files(killed / "out") == files(undisturbed / "out")
            Scratch(killed / "scratch").clear()
    process = start(killed)
    process.join()
    assert process.exitcode == 0 and files(killed / "out") == files(undisturbed / "out")
    assert max(states) > 0  # it did go on from something


def test_other_work_is_never_taken_up(tmp_path):
    file = tmp_path / "input"
    file.write_bytes(b"one")
    first = Scratch(tmp_path / "scratch", file, {"updates": 3})
    first.write_state("x", 5, {"w": torch.ones(2)}, {"seen": 7})
    again = Scratch(tmp_path / "scratch", file, {"updates": 3}).read_state("x")
    assert torch.equal(again[0]["w"], torch.ones(2)) and again[1] == {"seen": 7}
    file.write_bytes(b"two")
    assert Scratch(tmp_path / "scratch", file, {"updates": 3}).read_state("x") is None
    assert not first.folder.exists()  # deleted with what it was for


def test_a_damaged_state_counts_as_none(tmp_path):
    scratch = Scratch(tmp_path, "job")
    assert scratch.read_state("x") is None
    scratch.write_state("x", 1, {"w": torch.ones(2)}, {})
    scratch.write_state("x", 2, {"w": torch.zeros(2)}, {})
    assert sorted(path.name for path in scratch.folder.iterdir()) == ["x-2.safetensors", "x.json"]
    scratch.path("x-2.safetensors").write_bytes(b"half")
    assert scratch.read_state("x") is None
    scratch.path("x.json").write_text("{}")
    assert scratch.read_state("x") is None
