"""Several processes on one training and one synthetic set give the bytes of a single one."""

import socket

import pytest
import torch

from synthplanes.diffusion.parts import ALONE, Parts, Processes
from synthplanes.errors import UserError
from tests.forked import start
from tests.shared_jobs import train_and_draw


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_processes_make_the_bytes_of_one(tmp_path):
    def together(count, folder):
        port = free_port()
        started = [start(train_and_draw, rank, count, port, folder) for rank in range(count)]
        for process in started:
            process.join(300)
        assert [process.exitcode for process in started] == [0] * count

    together(1, tmp_path / "one")
    together(2, tmp_path / "two")
    assert len(files(tmp_path / "one" / "out")) == 5  # config, weights, early average, images, index
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")
    assert (tmp_path / "one" / "passes").read_text() == (tmp_path / "two" / "passes").read_text()


def test_processes_that_do_not_divide_the_parts_are_refused():
    with pytest.raises(UserError, match="3 processes"):
        Parts(2, Processes(0, 3))


def test_alone_nothing_waits():
    ALONE.wait()
    tensors = [torch.arange(3)]
    assert ALONE.gather(tensors)[0] is tensors
