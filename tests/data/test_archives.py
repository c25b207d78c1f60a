import stat
import zipfile

import pytest

from synthplanes.data import archives
from synthplanes.errors import UserError


def make_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as content:
        for name, data in members:
            content.writestr(name, data)
    return path


def refused(archive, tmp_path, words):
    with pytest.raises(UserError, match=words):
        archives.unpack(archive, tmp_path / "out")
    left = {path.name for path in tmp_path.iterdir()} - {archive.name}
    assert left == set(), "something was left behind"


def test_a_sound_archive_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("Images/", ""), ("Images/x.png", b"123"), ("table.csv", b"a;b")])
    archives.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "Images" / "x.png").read_bytes() == b"123"
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


@pytest.mark.parametrize("name, words", [
    ("../evil.txt", "leads out of the folder"),
    ("Images/../../evil.txt", "leads out of the folder"),
    ("..\\evil.txt", "leads out of the folder"),
    ("/etc/evil.txt", "an absolute name"),
    ("C:/evil.txt", "an absolute name"),
])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, words):
    refused(make_zip(tmp_path / "a.zip", [("good.txt", b"1"), (name, b"2")]), tmp_path, words)


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("Images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(make_zip(tmp_path / "a.zip", [(link, "/etc")]), tmp_path, "a link or device, 'Images'")


def test_repeated_names_are_refused(tmp_path):
    with pytest.warns(UserWarning):
        archive = make_zip(tmp_path / "a.zip", [("x", b"1"), ("x", b"2")])
    refused(archive, tmp_path, "a repeated name")


def test_bombs_are_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", [("x", bytes(60_000_000))], zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archives, "_unpack_member", lambda *_: pytest.fail("unpacked"))
    refused(archive, tmp_path, "would unpack to 60,000,000 bytes")
    monkeypatch.setattr(archives, "MEMBERS_LIMIT", 3)
    refused(make_zip(tmp_path / "a.zip", [(str(number), b"") for number in range(4)]), tmp_path, "4 members")


def test_damage_leaves_nothing_behind(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"A" * 1000), ("b.txt", b"B" * 1000)])
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"BBBB", b"BxBB", 1))
    refused(archive, tmp_path, "no sound zip.*CRC")
    archive.write_bytes(content[:1500])
    refused(archive, tmp_path, "no sound zip")
    archive.write_text("<html>sorry</html>")
    refused(archive, tmp_path, "no sound zip")


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(UserError, match="a.zip does not exist"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
