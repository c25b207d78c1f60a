"""The same calls in this machine's processes and on a real cluster of two workers."""

import os

import pytest
from distributed import LocalCluster
from tests.small_profile import small_profile
from tests.tiny_generator import squares

from synthplanes.classification.runs import train_cell
from synthplanes.errors import UserError
from synthplanes.compute.parallel import ADDRESS, side_by_side


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as found:
        yield found


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "r0").iterdir()}


def test_classifiers_of_a_cluster_have_the_bytes_of_this_machine(cluster, tmp_path, monkeypatch):
    profile = small_profile()
    profile = profile.model_copy(update=dict(
        recipe=profile.recipe.model_copy(update=dict(stage_1_updates=4, stage_2_updates=3)),
        replication=profile.replication.model_copy(update=dict(seeds=2)),
        compute=profile.compute.model_copy(update=dict(processes=1))))
    monkeypatch.chdir(tmp_path)
    train_cell("baseline", profile, "residual", [{"real": squares()}], tmp_path / "here")
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train_cell("baseline", profile, "residual", [{"real": squares()}], tmp_path / "here" / ".." / "there")
    assert len(files(tmp_path / "here")) == 4 * 2 + 1 and files(tmp_path / "here") == files(tmp_path / "there")


def test_work_really_goes_to_the_workers_and_comes_back_in_order(cluster, monkeypatch):
    here = os.getpid()
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    assert list(side_by_side(lambda n: (n * n, os.getpid() != here), range(6), 1)) == [(n * n, True) for n in range(6)]


def test_a_users_mistake_on_a_worker_is_the_same_sentence(cluster, monkeypatch):
    def refuse(_):
        raise UserError("the disk is full")

    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    with pytest.raises(UserError, match="the disk is full"):
        list(side_by_side(refuse, [1], 1))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr("synthplanes.side_by_side._SECONDS_TO_CONNECT", 1)
    with pytest.raises(UserError, match="no Dask scheduler answers at .*127.0.0.1:9"):
        list(side_by_side(len, ["a"], 1))


def test_workers_with_several_threads_are_refused(monkeypatch):
    with LocalCluster(n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0") as two:
        monkeypatch.setenv(ADDRESS, two.scheduler_address)
        with pytest.raises(UserError, match="--nthreads 1"):
            list(side_by_side(len, ["a"], 1))
