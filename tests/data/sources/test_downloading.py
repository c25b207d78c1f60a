import hashlib

import pytest

from synthplanes.data.sources import fetching
from synthplanes.data.sources.published import Archive
from synthplanes.errors import UserError

CONTENT = bytes(range(256)) * 4000  # about a megabyte
SIZE, MD5 = len(CONTENT), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """Download from the local server into `target`; keyword arguments replace the right size and digest."""
    server.content = CONTENT
    monkeypatch.setattr(fetching, "PAUSE_S", 0.001)

    def run(size=SIZE, md5=MD5, url=server.url):
        fetching.download(Archive(url, size, md5), tmp_path / "set.zip")
    return run


@pytest.fixture
def target(tmp_path):
    return tmp_path / "set.zip"


@pytest.fixture
def partial(tmp_path):
    return tmp_path / "set.zip.part"


def test_a_download(get, target, partial, server):
    get()
    assert target.read_bytes() == CONTENT and not partial.exists() and server.requests == [None]


def test_it_goes_on_where_the_connection_broke(get, target, server):
    server.faults = [("break", 300_000), ("break", 200_000)]
    get()
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]


def test_it_goes_on_from_an_earlier_call(get, target, partial, server):
    partial.write_bytes(CONTENT[:777])
    get()
    assert target.read_bytes() == CONTENT and server.requests == ["bytes=777-"]


def test_without_ranges_what_came_is_skipped(get, target, partial, server):
    server.ranges = False
    server.faults = [("break", 600_000), ("break", 300_000), ("break", 700_000)]
    get()
    assert target.read_bytes() == CONTENT and len(server.requests) == 4


def test_a_server_that_never_gets_further_is_left(get, partial, server):
    server.ranges = False
    server.faults = [("break", 2000), ("break", 1000)] * 50
    with pytest.raises(UserError, match="connection ended at"):
        get()
    assert partial.read_bytes() == CONTENT[:2000] and len(server.requests) == 1 + fetching.ATTEMPTS


def test_passing_faults_are_waited_out(get, target, server):
    server.faults = [503, "garbage", 429, ("break", 0)]
    get()
    assert target.read_bytes() == CONTENT


def test_lasting_faults_end_with_a_sentence_and_keep_what_came(get, target, partial, server):
    server.faults = [("break", 5000)] + ["garbage"] * 100
    with pytest.raises(UserError, match="go on from byte 5,000"):
        get()
    assert partial.read_bytes() == CONTENT[:5000] and not target.exists()
    assert len(server.requests) == 1 + fetching.ATTEMPTS
    server.faults = []
    get()
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_is_not_there_is_not_asked_for_twice(get, target, server, status):
    server.faults = [status] * 3
    with pytest.raises(UserError, match=f"answers {status}"):
        get()
    assert len(server.requests) == 1 and not target.exists()


def test_a_wrong_digest_is_deleted(get, target, partial, server):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=f"instead of {MD5}"):
        get()
    assert not target.exists() and not partial.exists()


def test_nothing_good_is_overwritten(get, target, server):
    target.write_bytes(CONTENT)
    server.faults = [404]
    get()
    assert server.requests == [] and target.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("content", [b"<html>please log in</html>", CONTENT + b"more"])
def test_another_page_in_its_place_is_not_taken(get, target, partial, server, ranges, content):
    partial.write_bytes(CONTENT[:10])
    server.ranges, server.content = ranges, content
    with pytest.raises(UserError, match=f"offers {len(content):,} bytes instead of {len(CONTENT):,}"):
        get()
    assert not target.exists() and partial.read_bytes() == CONTENT[:10]


def test_a_wrong_beginning_ends_in_a_wrong_digest_and_a_fresh_start(get, target, partial):
    partial.write_bytes(b"something else entirely")
    with pytest.raises(UserError, match="md5"):
        get()
    assert not partial.exists()
    get()
    assert target.read_bytes() == CONTENT


def test_a_surplus_beginning_is_thrown_away(get, target, partial, server):
    partial.write_bytes(CONTENT + b"more")
    get()
    assert target.read_bytes() == CONTENT and server.requests == [None]


def test_a_server_that_is_off(get, target):
    with pytest.raises(UserError, match="cannot be downloaded.*refused"):
        get(url="http://127.0.0.1:9/set.zip")
    assert not target.exists()
