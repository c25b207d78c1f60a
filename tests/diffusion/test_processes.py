"""Several processes on one training and one synthetic set: the bytes of a single one."""

import multiprocessing
import socket

import pytest
import torch
from tests.shared_jobs import train_and_draw

from synthplanes.diffusion.parts import Parts
from synthplanes.diffusion.processes import Processes
from synthplanes.diffusion.sampling import share_of
from synthplanes.errors import UserError
from synthplanes.records import SYNTHETIC, Table


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_processes_make_the_bytes_of_one(tmp_path, repository, monkeypatch):
    monkeypatch.syspath_prepend(repository)  # where the started processes find `tests`
    context = multiprocessing.get_context("spawn")

    def together(count, folder):
        port = free_port()
        started = [context.Process(target=train_and_draw, args=(rank, count, port, folder)) for rank in range(count)]
        for process in started:
            process.start()
        for process in started:
            process.join(300)
        assert [process.exitcode for process in started] == [0] * count

    together(1, tmp_path / "one")
    together(2, tmp_path / "two")
    assert len(files(tmp_path / "one" / "out")) == 5  # config, weights, early average, images, index
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")
    assert (tmp_path / "one" / "passes").read_text() == (tmp_path / "two" / "passes").read_text()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_batch_is_one_process_share(count):
    index = Table.of_rows(SYNTHETIC, [dict(image_id=f"s{row}", label="a", budget="b", replicate=0, scanner="", source="",
                                           seed=row) for row in range(25)])
    shares = [share_of(index, 4, Processes(rank, count))["image_id"].tolist() for rank in range(count)]
    assert sorted(sum(shares, [])) == sorted(index["image_id"].tolist())
    for share in shares:
        for start in range(0, len(share), 4):
            first = int(share[start][1:])
            assert first % 4 == 0 and share[start:start + 4] == [f"s{row}" for row in range(first, min(first + 4, 25))]


def test_processes_that_do_not_divide_the_parts_are_refused():
    with pytest.raises(UserError, match="3 processes"):
        Parts(2, Processes(0, 3))


def test_alone_nothing_waits():
    Processes().wait()
    one = torch.arange(3)
    assert Processes().gather(one)[0] is one
