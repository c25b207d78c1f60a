import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.preparation import scanning
from synthplanes.data.sources import opening as sources
from synthplanes.phantom import Phantom
from synthplanes.phantom.official_layout import write_official_layout
from synthplanes.errors import UserError


def write_simulated(folder, frames, table):
    folder.mkdir()
    np.save(folder / "frames.npy", frames)
    records.write_table(folder / "table.csv", table)


def test_simulated_frames_are_a_source(tmp_path, make_table):
    frames = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4)
    table = make_table([("1", "Other", "train"), ("2", "Fetal brain", "fresh")])
    write_simulated(tmp_path / "s", frames, table)
    source = sources.open_source("phantom", tmp_path / "absent", tmp_path / "s", {})
    assert source.classes == ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax",
                              "Maternal cervix", "Other")
    np.testing.assert_array_equal(source.decode(1), frames[1])
    assert len(source.missing()) == 0 and source.table["role"].tolist() == ["train", "fresh"]


def test_frames_without_rows_are_refused(tmp_path, make_table):
    write_simulated(tmp_path / "s", np.zeros((3, 4, 4), np.uint8), make_table([("1", "Other", "train")]))
    with pytest.raises(UserError, match="run the stage `simulate` again"):
        sources.open_source("phantom", tmp_path, tmp_path / "s", {})


def test_an_unknown_kind_and_an_unfetched_source_are_refused(tmp_path):
    with pytest.raises(UserError, match="choose one of phantom"):
        sources.open_source("imagenet", tmp_path, tmp_path, {})
    with pytest.raises(UserError, match="run `synthplanes fetch fetal_planes_db --profile PROFILE`"):
        sources.open_source("fetal_planes_db", tmp_path / "raw", tmp_path, {})


def test_options_reach_the_kind(tmp_path):
    (tmp_path / "mine.csv").write_text("path,label,patient,role\nx,a,1,train\ny,b,2,test\n")
    source = sources.open_source("table", tmp_path, tmp_path, dict(csv_name="mine.csv"))
    assert source.classes == ("a", "b")


@pytest.mark.parametrize("kind, options, words", [
    ("table", dict(csv="mine.csv"), "has no option 'csv': it takes csv_name, test_fraction, seed"),
    ("phantom", dict(seed=1), "it takes none"),
    ("table", dict(test_fraction="0.3"), "'test_fraction' of the source table is '0.3'.*type float"),
    ("table", dict(csv_name="../mine.csv"), "no bare file name"),
])
def test_wrong_options_are_named(tmp_path, kind, options, words):
    with pytest.raises(UserError, match=words):
        sources.open_source(kind, tmp_path, tmp_path, options)


def test_the_phantom_in_the_official_layout_is_read_like_the_official_set(tmp_path):
    """Names, separators, trailing spaces, mixed sizes and RGBA files go through the loader and the guards."""
    settings = Phantom(frame_size=16, train_patients=12, test_patients=12)
    count = write_official_layout(settings, tmp_path / "raw")
    source = sources.open_source("fetal_planes_db", tmp_path / "raw", tmp_path, dict(official=False))
    assert len(source.table) == count and len(source.missing()) == 0
    assert set(source.table["role"]) == {"train", "test"}
    assert set(source.table["label"]) <= set(source.classes)
    scan = scanning.scan(source)
    assert scan.usable.all() and len(np.unique(scan.sizes, axis=0)) > 1
    with pytest.raises(UserError, match="not the complete official table"):
        sources.open_source("fetal_planes_db", tmp_path / "raw", tmp_path, {})
