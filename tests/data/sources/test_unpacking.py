import gzip
import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthplanes.data.sources import unpacking
from synthplanes.errors import UserError


def make_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as content:
        for name, data in members:
            content.writestr(name, data)
    return path


def unpack(archive, folder):
    unpacking.unpack(archive, folder, lambda content: None)


def refused(archive, tmp_path, words):
    with pytest.raises(UserError, match=words):
        unpack(archive, tmp_path / "out")
    left = {path.name for path in tmp_path.iterdir()} - {archive.name}
    assert left == set(), "something was left behind"


def test_a_sound_archive_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("Images/", ""), ("Images/x.png", b"123"), ("table.csv", b"a;b")])
    unpack(archive, tmp_path / "out")
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


@pytest.mark.parametrize("name", ["", "."])
def test_members_without_a_name_are_refused(tmp_path, name):
    refused(make_zip(tmp_path / "a.zip", [(zipfile.ZipInfo(name), b"1")]), tmp_path, "a member without a name")


def test_a_name_of_two_lines_stays_in_one_sentence(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a\n/../../b", b"1")])
    with pytest.raises(UserError, match="leads out of the folder") as raised:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(raised.value)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 400))
def test_any_damage_is_one_sentence_or_harmless(tmp_path_factory, changes, cut):
    """Whatever is unpacked lies in the folder, and a member that kept its name has its own bytes."""
    folder = tmp_path_factory.mktemp("zip")
    archive = make_zip(folder / "a.zip", [("Images/x.png", b"123" * 20), ("table.csv", b"a;b")], zipfile.ZIP_DEFLATED)
    content = bytearray(archive.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    archive.write_bytes(bytes(content if changes else content[:cut % len(content)]))
    try:
        unpack(archive, folder / "out")
    except UserError as error:
        assert "\n" not in str(error) and {path.name for path in folder.iterdir()} == {"a.zip"}
        return
    assert {path.name for path in folder.iterdir()} == {"a.zip", "out"}
    for name, data in (("Images/x.png", b"123" * 20), ("table.csv", b"a;b")):
        if (folder / "out" / name).is_file():
            assert (folder / "out" / name).read_bytes() == data


def test_folders_in_the_names_of_windows(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("img\\", b""), ("img\\deep\\x.png", b"1"), ("table.csv", b"2")])
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "img" / "deep" / "x.png").read_bytes() == b"1"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["img", "table.csv"]


@pytest.mark.parametrize("name, words", [
    ("img\\..\\..\\x", "leads out of the folder"), ("\\etc\\x", "an absolute name"),
    ("\\\\server\\x", "an absolute name"), ("D:\\x", "an absolute name")])
def test_such_a_name_leads_nowhere_else(tmp_path, name, words):
    refused(make_zip(tmp_path / "a.zip", [("good.txt", b"1"), (name, b"2")]), tmp_path, words)


def test_one_file_in_two_spellings_is_refused(tmp_path):
    refused(make_zip(tmp_path / "a.zip", [("img/x", b"1"), ("img\\x", b"2")]), tmp_path, "a repeated name")


def test_names_in_undeclared_utf_8_are_read(tmp_path):
    """As the archives of macOS have them."""
    archive = make_zip(tmp_path / "a.zip", [("M__ller.png", b"1")])
    content = archive.read_bytes().replace(b"M__ller", "M\u00fcller".encode())
    archive.write_bytes(content)
    unpack(archive, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["M\u00fcller.png"]


def tarred(mode):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode=mode) as content:
        content.addfile(tarfile.TarInfo("table.csv"))
    return memory.getvalue()


@pytest.mark.parametrize("content, words", [
    (tarred("w:gz"), r"a gzip archive \(.gz, .tar.gz\), not a zip of images: unpack it .*--from"),
    (tarred("w:bz2"), "a bzip2 archive.*: unpack it"), (tarred("w:xz"), "an xz archive.*: unpack it"),
    (tarred("w"), "a tar archive.*: unpack it"), (gzip.compress(b"a;b"), "a gzip"),
    (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(90), "a 7-Zip archive.*: unpack it"),
    (b"Rar!\x1a\x07\x01\0" + bytes(90), "a RAR archive.*: unpack it"),
    (b"(\xb5/\xfd" + bytes(90), "a Zstandard archive.*: unpack it"),
    (b"PK\x07\x08PK\x03\x04" + bytes(90), "one part of a zip in several.*: unpack it"),
    (b"\n<!DOCTYPE html><html>sorry</html>", "a web page .*: delete it and fetch it again"),
    (b"", "an empty file.*: delete it and fetch it again"),
    (b"path,label,patient\n", "no archive, not a zip of images: give a zip, or the folder that holds the table"),
    (b"PK\x03\x04" + bytes(90), "no sound zip .*, damaged or incomplete: delete it and fetch it again"),
], ids=lambda value: repr(value[:4]))
def test_whatever_is_no_zip_is_called_by_its_name(tmp_path, content, words):
    archive = tmp_path / "set.zip"
    archive.write_bytes(content)
    refused(archive, tmp_path, f"set.zip is {words}")


def test_an_office_document_is_no_archive_of_images(tmp_path):
    refused(make_zip(tmp_path / "a.zip", [("[Content_Types].xml", b"<"), ("xl/workbook.xml", b"<")]), tmp_path,
            "an Office document .*save the table as CSV")


@pytest.mark.parametrize("place, value, words", [
    (8, 9, "packed in a way that is not read here .*: unpack it with another"),
    (6, 1, "an encrypted member, 'x': unpack it with another")])
def test_what_only_other_programs_unpack_is_left_to_them(tmp_path, place, value, words):
    """Windows packs large files with Deflate64; hospitals send encrypted archives."""
    archive = make_zip(tmp_path / "a.zip", [("x", b"1")])
    content = bytearray(archive.read_bytes())
    for start in (0, content.index(b"PK\x01\x02") + 2):
        content[start + place] = value
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path, words)


def test_what_the_content_lacks_is_told_of_the_archive(tmp_path):
    def check(content):
        raise UserError(f"{content}/table.csv, line 3 has no label: fill it in.")
    archive = make_zip(tmp_path / "a.zip", [("table.csv", b"1")])
    with pytest.raises(UserError, match=f"^{archive}/table.csv, line 3"):
        unpacking.unpack(archive, tmp_path / "out", check)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


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
    monkeypatch.setattr(zipfile.ZipFile, "extractall", lambda *_: pytest.fail("unpacked"))
    refused(archive, tmp_path, "would unpack to 60,000,000 bytes")
    monkeypatch.setattr(unpacking, "MEMBERS_LIMIT", 3)
    refused(make_zip(tmp_path / "a.zip", [(str(number), b"") for number in range(4)]), tmp_path, "4 members")


def test_damage_leaves_nothing_behind(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"A" * 1000), ("b.txt", b"B" * 1000)])
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"BBBB", b"BxBB", 1))
    refused(archive, tmp_path, "no sound zip.*CRC")
    archive.write_bytes(content[:1500])
    refused(archive, tmp_path, "no sound zip")


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(UserError, match="a.zip does not exist"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_folder_may_be_named_twice(tmp_path):
    with pytest.warns(UserWarning):
        archive = make_zip(tmp_path / "a.zip", [("img/", ""), ("img/", ""), ("img/x", b"1")])
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "img" / "x").read_bytes() == b"1"


@pytest.mark.parametrize("members", [[("\u5f20" * 90, b"1")], [("img", b"1"), ("img/x", b"2")]])
def test_names_that_no_folder_takes_are_told_as_such(tmp_path, members):
    refused(make_zip(tmp_path / "a.zip", members), tmp_path, "give its files other names")
