"""Damaged tables and images: each ends in one sentence or in a set whose every image is the file's own.

A seeded corruptor damages a good set 200 times, hypothesis invents 100 tables and 100 image files more; what is not
refused must be right, cell by cell and pixel by pixel.
"""

import csv
import io
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthplanes.data.images import PIXEL_LIMIT, frame, to_8_bit, to_grey
from synthplanes.data.packs import read_pack
from synthplanes.data.preparation.preparing import inspect, prepare
from synthplanes.data.sources.csv_rows import MAX_LENGTH, read_rows
from synthplanes.data.sources.listed_files import open_table
from synthplanes.data.sources.opening import open_source
from synthplanes.errors import UserError

SIZE, N_PATIENTS, CASES = 16, 12, 200
LABELS = ("brain", "femur", "other")
HOSTILE_TEXTS = ("=HYPERLINK(\"http://x\")", "<script>alert(1)</script>", "a\tb", "ü" * 300, "nan", "None", "../..",
                 "%s{0}$x", "-1", "\u202egnp", " ", "a/b")


def good_set(folder: Path) -> list[list[str]]:
    """The rows of a sound table, its images written beside it."""
    rng = np.random.default_rng(7)
    rows = [["path", "label", "patient", "scanner"]]
    for patient in range(N_PATIENTS):
        for label in LABELS:
            name = f"p{patient}_{label}.png"
            Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(folder / name)
            rows.append([name, label, f"P{patient}", "ab"[patient % 2]])
    return rows


def damage_table(rng: np.random.Generator, rows: list[list[str]], folder: Path) -> bytes:
    """One kind of damage to the table's text."""
    rows = [list(row) for row in rows]
    row, column = rng.integers(1, len(rows)), rng.integers(4)
    kind = rng.integers(14)
    if kind == 0:
        for cells in rows:
            del cells[column]
    elif kind == 1:
        rows[0][column] = str(rng.choice(["Path", "klass", "", "path", "patient"]))
    elif kind == 2:
        rows[row][column] = str(rng.choice(HOSTILE_TEXTS))
    elif kind == 3:
        rows[row][column] = ""
    elif kind == 4:
        rows[row][0] = str(rng.choice(["../table.csv", "/etc/passwd", "table.csv", ".", "nowhere.png", "a/../../x.png",
                                       "~/x.png", "C:\\x.png", "p0_brain.png/..", "http://host/x.png"]))
    elif kind == 5:
        rows.append(list(rows[row]))
    elif kind == 6:
        rows[row] = rows[row][:rng.integers(4)]
    elif kind == 7:
        rows[row] += ["surplus"] * int(rng.integers(1, 4))
    elif kind == 8:
        rows = rows[:int(rng.integers(0, 4))]
    elif kind == 9:
        for cells in rows[1:]:
            cells[1 + int(rng.integers(2))] = "same"
    text = "\n".join(",".join(f'"{cell}"' if "," in cell or '"' in cell else cell for cell in cells) for cells in rows)
    content = text.encode()
    if kind == 10:
        position = int(rng.integers(len(content)))
        content = content[:position] + bytes([int(rng.choice([0, 10, 13, 34, 255, 0xC3]))]) + content[position:]
    elif kind == 11:
        content = content[:int(rng.integers(len(content)))]
    elif kind == 12:
        content = bytes(rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"#"])) + content.replace(b"\n", b"\r\n")
    elif kind == 13:
        content = content.replace(b",", bytes(rng.choice([b";", b"\t", b"|", b",,"])))
    return content


def damage_image(rng: np.random.Generator, path: Path) -> None:
    """One kind of damage to an image file."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(12)
    if kind == 0:
        content = content[:rng.integers(len(content))]
    elif kind == 1:
        for position in rng.integers(8, len(content), 5):
            content[position] ^= 1 << rng.integers(8)
    elif kind == 2:
        content = b""
    elif kind == 3:
        content = b"this is no image"
    elif kind == 4:
        content = claimed(int(rng.integers(9_000, 2**31 - 1)), int(rng.integers(9_000, 2**31 - 1)))
    elif kind == 5:
        content = saved(Image.new("RGBA", (9, 7), (200, 0, 0, 0)), "PNG")
    elif kind == 6:
        content = saved(Image.fromarray(rng.integers(0, 65536, (9, 7)).astype(np.uint16)), "PNG")
    elif kind == 7:
        content = saved(Image.fromarray(np.full((5, 5), np.nan, np.float32)), "TIFF")
    elif kind == 8:
        content = saved(Image.new("CMYK", (8, 8), (0, 30, 60, 90)), "JPEG")
    elif kind == 9:
        content = saved(Image.fromarray(rng.integers(0, 256, (1, 1), dtype=np.uint8)), "PNG")
    elif kind == 10:
        content = saved(Image.fromarray(rng.integers(0, 256, (3, 2000), dtype=np.uint8)).convert("P"), "PNG")
    path.unlink()
    if kind == 11:
        path.mkdir()
    else:
        path.write_bytes(bytes(content))


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims enormous dimensions."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND"


def saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def one_sentence(error: UserError) -> bool:
    text = str(error)
    return "\n" not in text and "Traceback" not in text and len(text) > 20 and ":" in text


@pytest.mark.parametrize("number", range(CASES))
def test_damage_ends_in_a_sentence_or_in_right_images(tmp_path, make_profile, make_guards, number):
    rng = np.random.default_rng([2025, number])
    folder, out = tmp_path / "set", tmp_path / "prepared"
    folder.mkdir()
    rows = good_set(folder)
    if number % 2:
        damage_image(rng, folder / rows[rng.integers(1, len(rows))][0])
        content = "\n".join(",".join(row) for row in rows).encode()
    else:
        content = damage_table(rng, rows, folder)
    (folder / "table.csv").write_bytes(content)
    guards = make_guards(missing=str(rng.choice(["error", "use_what_is_there"])))
    try:
        source = open_table(folder)
        counts = prepare(source, make_profile(guards=guards.model_dump()), out)
    except UserError as error:
        assert one_sentence(error), str(error)
        assert not (out / "splits.csv").exists()
        return
    assert not inspect(source, guards)[1]
    n_packed = 0
    for name in ("development", "test"):
        pack = read_pack(out / name)
        for image_id, image in zip(pack.index["image_id"], pack.images, strict=True):
            with Image.open(folder / image_id) as opened:
                grey = to_grey(opened)
                assert np.array_equal(image, frame(to_8_bit(grey, int(grey.max()).bit_length()), SIZE))
            n_packed += 1
    n_dropped = sum(dropped["images"] for dropped in counts["dropped"].values())
    assert n_packed + n_dropped == counts["rows_in_table"] == len(source.table)


def test_the_good_set_is_taken_whole(tmp_path, make_profile):
    rows = good_set(tmp_path)
    (tmp_path / "table.csv").write_text("\n".join(",".join(row) for row in rows))
    counts = prepare(open_table(tmp_path), make_profile(), tmp_path / "prepared")
    assert counts["rows_in_table"] == len(rows) - 1 and not counts["dropped"]


# ---- hypothesis ------------------------------------------------------------------------------------------------

CELL = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(HOSTILE_TEXTS)
MOST = settings(max_examples=100, deadline=None, derandomize=True)


@MOST
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=4), st.sampled_from(",;\t"))
def test_any_table_is_refused_or_read_as_it_stands(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("any") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([["path", "label", "patient"], *rows])
    try:
        read = read_rows(path, ("path", "label", "patient")).to_dict("records")
    except UserError as error:
        assert one_sentence(error), str(error)
        return
    written = [[cell.strip() for cell in row] for row in rows]
    assert [list(row.values()) for row in read] == [row for row in written if any(row)]
    for cell in (cell for row in read for cell in row.values()):
        assert len(cell) <= MAX_LENGTH and not any(unicodedata.category(letter) == "Cc" for letter in cell)


@MOST
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]), st.data())
def test_any_bytes_are_refused_or_a_grey_image(tmp_path_factory, kind, data):
    grey = np.random.default_rng(1).integers(0, 256, (9, 11), dtype=np.uint8)
    content = bytearray(saved(Image.fromarray(grey), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("any")
    (folder / "x.png").write_bytes(bytes(content))
    (folder / "table.csv").write_text("path,label,patient\nx.png,a,1\ny.png,b,2\nz.png,b,3\nw.png,a,4\n")
    try:
        decoded = open_table(folder).decode(0)
    except UserError as error:
        assert one_sentence(error), str(error)
        return
    assert decoded.dtype in (np.uint8, np.uint16) and decoded.ndim == 2 and decoded.size


def test_whatever_a_decoder_raises_is_one_sentence(source_of, monkeypatch):
    """Damaged TIFF files made Pillow raise TypeError; nobody can list all that it may raise."""
    def broken(image):
        raise TypeError("'<' not supported between instances of 'str' and 'int'")
    source = source_of(saved(Image.new("L", (4, 4)), "TIFF"))
    monkeypatch.setattr("synthplanes.data.images.to_grey", broken)
    with pytest.raises(UserError, match="x.png cannot be decoded .*TypeError"):
        source.decode(0)


# ---- enormous --------------------------------------------------------------------------------------------------

@pytest.fixture
def source_of(tmp_path):
    """A source whose first image is a file of the given bytes."""
    def make(content: bytes):
        (tmp_path / "x.png").write_bytes(content)
        (tmp_path / "table.csv").write_text("path,label,patient\nx.png,a,1\ny.png,b,2\nz.png,b,3\nw.png,a,4\n")
        return open_table(tmp_path)
    return make


def test_enormous_dimensions_are_refused_unread(source_of, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    for width, height in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, PIXEL_LIMIT + 1)):
        with pytest.raises(UserError, match="x.png"):
            source_of(claimed(width, height)).decode(0)


def test_a_bomb_of_one_colour_is_refused_unread(source_of, monkeypatch):
    """Some kilobytes that would be 100 million pixels."""
    bomb = saved(Image.new("1", (10_000, 10_000)), "PNG")
    assert len(bomb) < 20_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match="10,000 x 10,000"):
        source_of(bomb).decode(0)


@pytest.mark.parametrize("shape", [(1, 1_000_000), (1_000_000, 1)])
def test_a_line_that_would_be_padded_to_an_enormous_square_is_refused(source_of, shape):
    """A million pixels are few, and the square around them would be a terabyte."""
    content = saved(Image.fromarray(np.arange(1_000_000).astype(np.uint8).reshape(shape)), "TIFF")
    with pytest.raises(UserError, match="padded to a square"):
        source_of(content).decode(0)


# ---- paths and links -------------------------------------------------------------------------------------------

def test_links_in_a_circle_are_one_sentence(tmp_path, make_profile):
    (tmp_path / "x.png").symlink_to(tmp_path / "y.png")
    (tmp_path / "y.png").symlink_to(tmp_path / "x.png")
    (tmp_path / "table.csv").write_text("path,label,patient\nx.png,a,1\ny.png,b,2\nz.png,b,3\nw.png,a,4\n")
    with pytest.raises(UserError, match="x.png|2 of 4"):
        prepare(open_table(tmp_path), make_profile(), tmp_path / "prepared")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "inner/../../etc/passwd", "link/passwd"])
def test_no_path_of_a_table_leads_out(tmp_path, make_profile, path):
    folder = tmp_path / "set"
    (folder / "inner").mkdir(parents=True)
    (folder / "link").symlink_to("/etc", target_is_directory=True)
    (folder / "table.csv").write_text(f"path,label,patient\n{path},a,1\ny.png,b,2\n")
    with pytest.raises(UserError, match="lies outside"):
        open_source(make_profile().prepare, folder, tmp_path)


def test_a_name_longer_than_the_file_system_takes_is_a_missing_file(tmp_path):
    rows = "\u00fc" * 200 + ".png,a,1\ny.png,b,2\nz.png,b,3\nw.png,a,4\n"
    (tmp_path / "table.csv").write_text("path,label,patient\n" + rows, encoding="utf-8")
    assert open_table(tmp_path).missing().tolist() == [0, 1, 2, 3]


def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "table.csv").write_text("path,label,patient\nx.png,a,1\ny.png,b,2\nz.png,b,3\nw.png,a,4\n")
    assert 0 in open_table(tmp_path).missing()
