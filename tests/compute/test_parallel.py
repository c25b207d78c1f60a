"""Run the same calls in this machine's processes and on a real cluster of two workers."""

import os
from pathlib import Path

import pytest
from distributed import LocalCluster

from synthplanes.classification.runs import train_classifiers
from synthplanes.compute.parallel import ADDRESS, run_parallel
from synthplanes.errors import UserError
from synthplanes.protocol.arms import ARMS
from tests.tiny_cells import cell, tiny_profile, write_prepared


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as started:
        yield started


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_classifiers_of_a_cluster_have_the_bytes_of_this_machine(cluster, tmp_path, monkeypatch):
    profile = tiny_profile(optional=("distilled",))
    for place in ("here", "there"):
        write_prepared(tmp_path / place)
        monkeypatch.chdir(tmp_path / place)  # in which the workers do not stand
        train_classifiers(cell(Path(), "baseline", profile))
        monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    here, there = (files(cell(tmp_path / place, "baseline").out) for place in ("here", "there"))
    arms = {arm for arm, *_ in profile.runs() if ARMS[arm].stage == "baseline"}
    assert len(here) == len(arms) * 2 + 3 and here == there  # history, cell.json, cost.json


def test_work_really_goes_to_the_workers_and_comes_back_in_order(cluster, monkeypatch):
    here = os.getpid()
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    assert list(run_parallel(lambda n: (n * n, os.getpid() != here), range(6), 1)) == [(n * n, True) for n in range(6)]


def test_a_users_mistake_on_a_worker_is_the_same_sentence(cluster, monkeypatch):
    def refuse(_):
        raise UserError("the disk is full")

    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    with pytest.raises(UserError, match="the disk is full"):
        list(run_parallel(refuse, [1], 1))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr("synthplanes.compute.parallel._SECONDS_TO_CONNECT", 1)
    with pytest.raises(UserError, match="no Dask scheduler answers at .*127.0.0.1:9"):
        list(run_parallel(len, ["a"], 1))


def test_workers_with_several_threads_are_refused(monkeypatch):
    with LocalCluster(n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0") as two:
        monkeypatch.setenv(ADDRESS, two.scheduler_address)
        with pytest.raises(UserError, match="--nthreads 1"):
            list(run_parallel(len, ["a"], 1))
