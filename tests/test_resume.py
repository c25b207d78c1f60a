"""Killed at random moments, long work goes on where it was and ends in the bytes of an undisturbed run.

The processes are really killed (SIGKILL), 51 times in all, and after each kill the same work is run to its end. Of
`track`, which writes into MLflow's store, the bytes are those of all that the store shows.
"""

import multiprocessing
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from tests.resumable_jobs import JOBS, make_checkout, run

from synthplanes.compute.checkpoints import Scratch

KILLS = dict(denoiser=11, sampling=10, pretraining=10, preparing=10, track=10)


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resumable_jobs", "mlflow.store.tracking.sqlalchemy_store",
                                    "mlflow.store.model_registry.sqlalchemy_store"])
    return context


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The checkout that is tracked, without a store."""
    root = tmp_path_factory.mktemp("resume") / "checkout"
    make_checkout(root)
    return root


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_the_bytes_are_those_of_an_undisturbed_run(name, tmp_path, processes, checkout):
    def begin(place):
        shutil.rmtree(place, ignore_errors=True)
        if name == "track":
            shutil.copytree(checkout, place / "scratch" / "checkout")

    def start(place):
        process = processes.Process(target=run, args=(name, place / "scratch", place / "out"))
        process.start()
        return process

    undisturbed, timed, killed = tmp_path / "undisturbed", tmp_path / "timed", tmp_path / "killed"
    for place in (undisturbed, timed):  # the first warms the server up
        begin(place)
        began = time.monotonic()
        process = start(place)
        process.join()
        seconds = time.monotonic() - began
        assert process.exitcode == 0
    assert files(undisturbed / "out") == files(timed / "out") != {}

    rng, kills, kept = np.random.default_rng([11, len(name)]), 0, 0
    begin(killed)
    while kills < KILLS[name]:
        process = start(killed)
        process.join(rng.uniform(0.1, 0.9) * seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
            kept += len(files(killed / "scratch")) if (killed / "scratch").exists() else 0
            process = start(killed)  # and now to its end
            process.join()
        assert process.exitcode == 0 and files(killed / "out") == files(undisturbed / "out")
        begin(killed)
    assert kept > 0 or name == "preparing"  # they did go on from something; preparing begins anew


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
