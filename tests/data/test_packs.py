import numpy as np
import pandas as pd
import pytest

from synthplanes import records
from synthplanes.data import packs
from synthplanes.errors import UserError


def index_of(count):
    return records.INDEX.typed({name: [f"{name}{row}" for row in range(count)] for name in records.INDEX.columns})


def test_what_is_written_is_read(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 5, 7), dtype=np.uint8)
    packs.write_pack(tmp_path, images, index_of(300))
    pack = packs.read_pack(tmp_path)
    assert isinstance(pack.images, np.memmap) and not pack.images.flags.writeable
    np.testing.assert_array_equal(pack.images, images)
    assert pack.index["image_id"][299] == "image_id299"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "index.csv"]


def test_rows_choose_frames_in_their_order(tmp_path):
    images = np.arange(600, dtype=np.int64).repeat(4).reshape(600, 2, 2).astype(np.uint8)
    rows = np.array([599, 3, 3, 400])
    packs.write_pack(tmp_path, images, index_of(4), rows=rows)
    np.testing.assert_array_equal(packs.read_pack(tmp_path).images, images[rows])


def test_an_empty_pack_is_a_pack(tmp_path):
    packs.write_pack(tmp_path, np.zeros((9, 4, 4), np.uint8), index_of(0), rows=np.zeros(0, np.int64))
    pack = packs.read_pack(tmp_path)
    assert pack.images.shape == (0, 4, 4) and len(pack) == 0


def test_a_synthetic_pack_has_a_schema_of_its_own(tmp_path):
    index = records.SYNTHETIC.typed(dict(image_id=["s0"], label=["a"], scanner=[""], budget=["half"], replicate=[0],
                                         seed=[7]))
    packs.write_pack(tmp_path, np.zeros((1, 4, 4), np.uint8), index, records.SYNTHETIC)
    pd.testing.assert_frame_equal(packs.read_pack(tmp_path, records.SYNTHETIC).index, index)
    with pytest.raises(UserError, match="has the columns"):
        packs.read_pack(tmp_path)


def test_temporary_frames_leave_nothing_behind(tmp_path):
    frames = packs.temporary_frames(tmp_path / "new", (3, 4, 4))
    frames[2] = 7
    assert frames.dtype == np.uint8 and frames.sum() == 7 * 16 and not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not be written"):
        packs.temporary_frames(tmp_path / "file", (3, 4, 4))


def test_floats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        packs.write_pack(tmp_path, np.zeros((1, 4, 4), np.float32), index_of(1))


def test_damage_is_named(tmp_path):
    packs.write_pack(tmp_path, np.zeros((3, 4, 4), np.uint8), index_of(3))
    whole = (tmp_path / "images.npy").read_bytes()

    (tmp_path / "images.npy").write_bytes(whole[:-1])
    with pytest.raises(UserError, match="damaged"):
        packs.read_pack(tmp_path)

    np.save(tmp_path / "images.npy", np.zeros((3, 4, 4), np.float32))
    with pytest.raises(UserError, match="float32"):
        packs.read_pack(tmp_path)

    np.save(tmp_path / "images.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(UserError, match="2 frames and 3 rows"):
        packs.read_pack(tmp_path)
