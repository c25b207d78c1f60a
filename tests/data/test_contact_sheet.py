import numpy as np
from PIL import Image

from synthplanes.data.packs import write_contact_sheet


def test_one_row_of_frames_per_class(tmp_path):
    images = np.repeat(np.arange(60, 66, dtype=np.uint8), 64 * 64).reshape(6, 64, 64)
    labels = np.array(["a", "a", "b", "a", "b", "a"])
    write_contact_sheet(tmp_path / "sheet.png", images, labels, ["b", "a", "none"], columns=3)
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    row, column = 14 + 64 + 2, 64 + 2
    shown = [[int(sheet[line * row + 44, 32 + place * column]) for place in range(3)] for line in range(3)]
    # Class a has frames 60, 61, 63, 65: first, one of the middle, last. A background grey of 40 stands for no
    # frame.
    assert shown[0] == [62, 64, 40]
    assert shown[1][0] == 60 and shown[1][2] == 65
    assert shown[2] == [40, 40, 40]
    assert sheet[:14].max() == 255  # the caption


def test_small_frames_are_enlarged_and_bytes_are_stable(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
    for name in ("one.png", "two.png"):
        write_contact_sheet(tmp_path / name, images, np.array(["a"] * 5), ["a"], columns=5)
    assert Image.open(tmp_path / "one.png").size == (5 * 66 + 2, 14 + 64 + 2 + 2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
