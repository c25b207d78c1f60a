"""Sources in memory, profiles that hold what `prepare` reads, and a local HTTP server."""

import http.server
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthplanes import records
from synthplanes.protocol.config import Guards
from synthplanes.protocol.profiles import Profile, from_subset

REAL_DATA = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass
class Made:
    """A source of frames in memory; a frame of None stands for a missing file."""

    frames: list
    table: pd.DataFrame
    classes: tuple[str, ...]
    name: str = "made"

    def decode(self, row):
        return self.frames[row]

    def missing(self):
        return np.array([row for row, frame in enumerate(self.frames) if frame is None], dtype=np.int64)


@pytest.fixture
def make_table():
    """A SOURCE table from (patient, label, role) triples; image ids are i0, i1, ..."""
    def make(rows):
        return records.SOURCE.frame(
            dict(image_id=f"i{number}", file=f"i{number}.png", patient_id=patient, label=label, role=role, scanner="",
                 operator="", sub_plane="")
            for number, (patient, label, role) in enumerate(rows))
    return make


@pytest.fixture
def make_source(make_table):
    """A source with one smooth random frame [24, 32] per row, unlike all others."""
    def make(rows, classes=("a", "b")):
        draws = np.random.default_rng(5)
        frames = [np.kron(draws.integers(0, 256, (6, 8)), np.ones((4, 4))).astype(np.uint8) for _ in rows]
        return Made(frames, make_table(rows), classes)
    return make


@pytest.fixture(scope="session")
def make_guards():
    """Policies; keyword arguments replace those of real profiles."""
    def make(**changes) -> Guards:
        return Guards(**dict(missing="error", exact_across_roles="drop_from_train", exact_within_role="drop_from_train",
                             near_across_roles="drop_from_train", near_within_role="keep", near_distance_bits=8,
                             patient_on_two_roles="error") | changes)
    return make


@pytest.fixture(scope="session")
def make_profile(make_guards):
    """A profile that holds what `prepare` reads and nothing else; further arguments are parameters of `prepare`."""
    def make(budgets=None, generators=1, root_seed=0, disjoint_patients=False, **prepare) -> Profile:
        values = dict(source="table", image_size=16, source_options={}, guards=make_guards().model_dump(),
                      masked_boxes=[], validation_fraction=0.3, cross_validation="none") | prepare
        replication = dict(root_seed=root_seed, generators=generators, disjoint_patients=disjoint_patients)
        return from_subset(dict(replication=replication, budgets=budgets or {"half": 0.5}, prepare=values))
    return make


@pytest.fixture
def african_folder():
    return _real("african_planes")


@pytest.fixture
def fetal_folder():
    return _real("fetal_planes_db")


def _real(name):
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real images of {name} are not on this machine")
    return folder


@pytest.fixture
def server():
    """A local HTTP server: `server.content` is what it serves, `server.faults` how it fails next."""
    local = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    local.content, local.faults, local.ranges, local.requests = b"", [], True, []
    local.url = f"http://127.0.0.1:{local.server_port}/set.zip?download=1"
    thread = threading.Thread(target=local.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True)
    thread.start()
    yield local
    local.shutdown()
    local.server_close()
    thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    """A fault is an HTTP status to answer with, 'garbage', or ('break', n): close after n bytes."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "garbage":
            self.wfile.write(b"\x00\xff no http at all\r\n\r\n")
            self.close_connection = True
            return
        if isinstance(fault, int):
            self.send_error(fault)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = self.server.content[start:]
        if start > len(self.server.content):
            self.send_error(416)
            return
        self.send_response(206 if asked and self.server.ranges else 200)
        if asked and self.server.ranges:
            whole = len(self.server.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:fault[1]] if fault else body)
        self.close_connection = True

    def log_message(self, *_):
        pass
