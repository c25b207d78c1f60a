import hashlib
import io
import zipfile
from dataclasses import replace

import pytest

from synthplanes.data.sources import fetching
from synthplanes.data.sources.published import PUBLICATIONS, Archive
from synthplanes.errors import UserError

CSV = "FETAL_PLANES_DB_data.csv"


def zipped(members):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as content:
        for name, data in members.items():
            content.writestr(name, data)
    return memory.getvalue()


GOOD = zipped({CSV: "Image_name;", "Images/x.png": "png"})


@pytest.fixture
def publish(server, monkeypatch):
    """Let the local server be the official one for `content`."""
    def run(content):
        server.content = content
        archive = Archive(server.url, len(content), hashlib.md5(content).hexdigest())
        record = replace(PUBLICATIONS["fetal_planes_db"], archive=archive)
        monkeypatch.setitem(fetching.PUBLICATIONS, "fetal_planes_db", record)
        monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    return run


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "artifacts" / "raw" / "paper"


@pytest.fixture
def folder(tmp_path):
    """What a user has on disk."""
    (tmp_path / "mine" / "Images").mkdir(parents=True)
    (tmp_path / "mine" / CSV).write_text("Image_name;")
    return tmp_path / "mine"


def beside(raw):
    return sorted(path.name for path in raw.parent.iterdir()) if raw.parent.exists() else []


def test_the_official_archive_is_downloaded_and_unpacked(publish, raw, server):
    publish(GOOD)
    server.faults = [("break", 60)]
    fetching.fetch("fetal_planes_db", raw)
    assert (raw / "Images" / "x.png").read_bytes() == b"png"
    assert beside(raw) == ["paper"]


def test_a_second_fetch_does_nothing(publish, raw, server):
    publish(GOOD)
    fetching.fetch("fetal_planes_db", raw)
    asked = len(server.requests)
    fetching.fetch("fetal_planes_db", raw)
    assert len(server.requests) == asked


def test_a_wrong_archive_leaves_no_folder(publish, raw, server):
    publish(GOOD)
    server.content = GOOD[:-1] + b"!"
    with pytest.raises(UserError, match="md5"):
        fetching.fetch("fetal_planes_db", raw)
    assert beside(raw) == []


def test_an_archive_of_something_else_leaves_no_folder(publish, raw):
    publish(zipped({"other.txt": "1"}))
    with pytest.raises(UserError, match=f"holds no {CSV}"):
        fetching.fetch("fetal_planes_db", raw)
    assert not raw.exists()


def test_a_full_disk_is_seen_beforehand(publish, raw, server, monkeypatch):
    publish(GOOD)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: type("Usage", (), dict(free=10)))
    with pytest.raises(UserError, match="GB free"):
        fetching.fetch("fetal_planes_db", raw)
    assert server.requests == []


def test_a_folder_is_linked(raw, folder):
    fetching.fetch("fetal_planes_db", raw, folder)
    assert raw.is_symlink() and (raw / CSV).is_file()
    fetching.fetch("fetal_planes_db", raw, folder)
    assert raw.resolve() == folder


def test_what_is_there_is_not_replaced(raw, folder, tmp_path):
    fetching.fetch("fetal_planes_db", raw, folder)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / CSV).touch()
    with pytest.raises(UserError, match="already filled from elsewhere"):
        fetching.fetch("fetal_planes_db", raw, tmp_path / "second")
    with pytest.raises(UserError, match="holds something else"):
        fetching.fetch("african_planes", raw)
    assert raw.resolve() == folder


def test_a_link_to_a_folder_that_has_gone_is_renewed(raw, folder, tmp_path):
    fetching.fetch("fetal_planes_db", raw, folder)
    folder.rename(tmp_path / "moved")
    fetching.fetch("fetal_planes_db", raw, tmp_path / "moved")
    assert (raw / CSV).is_file()


def test_a_zip_is_unpacked_and_kept(raw, tmp_path):
    (tmp_path / "set.zip").write_bytes(GOOD)
    fetching.fetch("fetal_planes_db", raw, tmp_path / "set.zip")
    assert (raw / CSV).is_file() and not raw.is_symlink() and (tmp_path / "set.zip").exists()


@pytest.mark.parametrize("from_name, words", [("empty", f"holds no {CSV}"), ("absent.zip", "does not exist")])
def test_a_wrong_from_is_refused(raw, tmp_path, from_name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        fetching.fetch("fetal_planes_db", raw, tmp_path / from_name)
    assert not raw.exists()


def test_a_users_table_may_bear_any_name(raw, tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="holds no CSV"):
        fetching.fetch("table", raw, tmp_path / "own")
    (tmp_path / "own" / "list.csv").touch()
    fetching.fetch("table", raw, tmp_path / "own")
    assert (raw / "list.csv").exists()


@pytest.mark.parametrize("source, words", [
    ("phantom", "simulated, not fetched"),
    ("african_planes", "zenodo.org/records/7540448.*African_planes.csv.*--from"),
    ("table", "fetch table --profile PROFILE --from FOLDER"),
])
def test_what_cannot_be_downloaded_says_what_to_do(raw, source, words):
    with pytest.raises(UserError, match=words):
        fetching.fetch(source, raw)
    assert not raw.exists()


def test_the_real_folders_are_linked(raw, african_folder):
    fetching.fetch("african_planes", raw, african_folder)
    assert len(list((raw / "Images").iterdir())) == 450
