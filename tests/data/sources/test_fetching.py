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


TABLE = "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train \nx;7;Other;Not A Brain;Op. 1;Aloka;1 \n"
GOOD = zipped({CSV: TABLE, "Images/x.png": "png"})
OWN = "path,label,patient\n" + "".join(f"img/{label}{n}.png,{label},{n}\n" for n in range(4) for label in "ab")


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
def fetch(make_profile, raw):
    """Fetch for a profile of some source into `raw`; published sets need not be complete."""
    def run(source, from_path=None, **options):
        options = options or (dict(official=False) if source in PUBLICATIONS else {})
        fetching.fetch(make_profile(source=source, source_options=options).prepare, raw, from_path)
    return run


@pytest.fixture
def folder(tmp_path):
    """What a user has on disk."""
    (tmp_path / "mine" / "Images").mkdir(parents=True)
    (tmp_path / "mine" / "Images" / "x.png").touch()
    (tmp_path / "mine" / CSV).write_text(TABLE)
    return tmp_path / "mine"


def beside(raw):
    return sorted(path.name for path in raw.parent.iterdir()) if raw.parent.exists() else []


def test_the_official_archive_is_downloaded_and_unpacked(fetch, publish, raw, server):
    publish(GOOD)
    server.faults = [("break", 60)]
    fetch("fetal_planes_db")
    assert (raw / "Images" / "x.png").read_bytes() == b"png"
    assert beside(raw) == ["paper"]


def test_a_second_fetch_does_nothing(fetch, publish, raw, server):
    publish(GOOD)
    fetch("fetal_planes_db")
    asked = len(server.requests)
    fetch("fetal_planes_db")
    assert len(server.requests) == asked


def test_a_wrong_archive_leaves_no_folder(fetch, publish, raw, server):
    publish(GOOD)
    server.content = GOOD[:-1] + b"!"
    with pytest.raises(UserError, match="md5"):
        fetch("fetal_planes_db")
    assert beside(raw) == []


def test_an_archive_of_something_else_leaves_no_folder(fetch, publish, raw):
    publish(zipped({"other.txt": "1"}))
    with pytest.raises(UserError, match=f"holds no {CSV}"):
        fetch("fetal_planes_db")
    assert not raw.exists()


def test_a_full_disk_is_seen_beforehand(fetch, publish, raw, server, monkeypatch):
    publish(GOOD)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: type("Usage", (), dict(free=10)))
    with pytest.raises(UserError, match="GB free"):
        fetch("fetal_planes_db")
    assert server.requests == []


def test_a_folder_is_linked(fetch, raw, folder):
    fetch("fetal_planes_db", folder)
    assert raw.is_symlink() and (raw / CSV).is_file()
    fetch("fetal_planes_db", folder)
    assert raw.resolve() == folder


def test_what_is_there_is_not_replaced(fetch, raw, folder, tmp_path):
    fetch("fetal_planes_db", folder)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / CSV).write_text(TABLE)
    with pytest.raises(UserError, match="already filled from elsewhere"):
        fetch("fetal_planes_db", tmp_path / "second")
    with pytest.raises(UserError, match="is in place, but .* holds no African_planes.csv.*move it away"):
        fetch("african_planes")
    assert raw.resolve() == folder


def test_a_link_to_a_folder_that_has_gone_is_renewed(fetch, raw, folder, tmp_path):
    fetch("fetal_planes_db", folder)
    folder.rename(tmp_path / "moved")
    fetch("fetal_planes_db", tmp_path / "moved")
    assert (raw / CSV).is_file()


def test_a_zip_is_unpacked_and_kept(fetch, raw, tmp_path):
    (tmp_path / "set.zip").write_bytes(GOOD)
    fetch("fetal_planes_db", tmp_path / "set.zip")
    assert (raw / CSV).is_file() and not raw.is_symlink() and (tmp_path / "set.zip").exists()


@pytest.mark.parametrize("from_name, words", [("empty", f"holds no {CSV}"), ("absent.zip", "does not exist")])
def test_a_wrong_from_is_refused(fetch, raw, tmp_path, from_name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        fetch("fetal_planes_db", tmp_path / from_name)
    assert not raw.exists()


def test_a_users_table_bears_the_name_of_the_profile(fetch, raw, tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="own holds no table.csv: put a CSV"):
        fetch("table", tmp_path / "own")
    (tmp_path / "own" / "labels.csv").write_text(OWN)
    (tmp_path / "own" / "img").mkdir()
    (tmp_path / "own" / "img" / "a0.png").touch()
    with pytest.raises(UserError, match="own holds no table.csv, but labels.csv"):
        fetch("table", tmp_path / "own")
    assert not raw.exists()
    fetch("table", tmp_path / "own", csv_name="labels.csv")
    assert (raw / "labels.csv").exists()


@pytest.mark.parametrize("old, new, words", [
    ("img/b1.png,b,1", "img/b1.png,,1", "table.csv, line 5 has no label"),
    ("img/b1.png,b,1", "img/b1.png,b,01", "spells one patient in several ways"),
    ("img/b1.png,b,1", "img/b1.png,B,1", "spells one label in several ways"),
    ("img/b1.png,b,1", "img/b1.png,b,none", "line 5: the patient 'none' is a word for a missing value"),
    (",patient", ",person", "lacks the column.*patient"),
])
@pytest.mark.parametrize("packed", [False, True])
def test_a_fault_of_the_table_is_told_at_once(fetch, raw, tmp_path, old, new, words, packed):
    own = tmp_path / "own"
    own.mkdir()
    (own / "table.csv").write_text(OWN.replace(old, new))
    (tmp_path / "own.zip").write_bytes(zipped({"table.csv": OWN.replace(old, new)}))
    source = tmp_path / "own.zip" if packed else own
    with pytest.raises(UserError, match=f"{source}.*{words}"):
        fetch("table", source)
    assert not raw.exists() and not beside(raw)


def test_notes_and_lost_images_are_told_at_once(fetch, raw, tmp_path, capsys):
    (tmp_path / "own" / "img").mkdir(parents=True)
    (tmp_path / "own" / "table.csv").write_text(OWN.replace("img/b1.png,b,1", "img/b1.png,b,01"))
    with pytest.raises(UserError, match="8 of 8 images of the table have no file, such as img/a0.png: write"):
        fetch("table", tmp_path / "own", merge_spellings=True)
    assert not raw.exists()
    (tmp_path / "own" / "img" / "a0.png").touch()
    fetch("table", tmp_path / "own", merge_spellings=True)
    told = capsys.readouterr().err
    assert "note: merged spellings, of 1 patient name, such as '1' (1 row) and '01' (1 row) into '1'." in told
    assert "note: 7 of 8 images of the table have no file, such as img/b0.png" in told


def test_an_incomplete_official_table_is_told_at_once(fetch, raw, folder):
    with pytest.raises(UserError, match="not the complete official table"):
        fetch("fetal_planes_db", folder, official=True)
    assert not raw.exists()


@pytest.mark.parametrize("source, words", [
    ("phantom", "simulated, not fetched"),
    ("african_planes", "zenodo.org/records/7540448.*African_planes.csv.*--from"),
    ("table", "fetch table --profile PROFILE --from FOLDER"),
])
def test_what_cannot_be_downloaded_says_what_to_do(fetch, raw, source, words):
    with pytest.raises(UserError, match=words):
        fetch(source)
    assert not raw.exists()


def test_the_real_folders_are_linked(fetch, raw, african_folder):
    fetch("african_planes", african_folder)
    assert len(list((raw / "Images").iterdir())) == 450
