import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.preparation.scanning import scan
from synthplanes.data.sources.opening import OPENERS, open_source
from synthplanes.data.sources.published import PUBLICATIONS
from synthplanes.errors import UserError
from synthplanes.phantom.official_layout import write_official_layout
from synthplanes.phantom.population import CLASSES
from synthplanes.protocol.config import Prepare, Simulate


@pytest.fixture
def opened(make_profile, tmp_path):
    """Open a source of some kind, whose raw files lie in tmp_path/raw and simulated ones in tmp_path/s."""
    def run(kind, **options):
        return open_source(make_profile(source=kind, source_options=options).prepare, tmp_path / "raw", tmp_path / "s")
    return run


def write_simulated(folder, frames, table):
    folder.mkdir()
    np.save(folder / "frames.npy", frames)
    records.write_table(folder / "table.csv", table, records.SOURCE)


def test_simulated_frames_are_a_source(tmp_path, make_table, opened):
    frames = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4)
    write_simulated(tmp_path / "s", frames, make_table([("1", "Other", "train"), ("2", "Fetal brain", "fresh")]))
    source = opened("phantom")
    assert source.classes == CLASSES == PUBLICATIONS["fetal_planes_db"].classes
    np.testing.assert_array_equal(source.decode(1), frames[1])
    assert len(source.missing()) == 0 and source.table["role"].tolist() == ["train", "fresh"]


def test_frames_without_rows_are_refused(tmp_path, make_table, opened):
    write_simulated(tmp_path / "s", np.zeros((3, 4, 4), np.uint8), make_table([("1", "Other", "train")]))
    with pytest.raises(UserError, match="run the stage `simulate` again"):
        opened("phantom")


def test_every_kind_of_params_yaml_can_be_opened():
    assert set(OPENERS) == set(Prepare.model_fields["source"].annotation.__args__)


def test_an_unfetched_source_is_refused(opened):
    with pytest.raises(UserError, match="run `synthplanes fetch fetal_planes_db --profile PROFILE`"):
        opened("fetal_planes_db")


def test_options_reach_the_kind(tmp_path, opened):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.csv").write_text("path,label,patient,role\nx,a,1,train\ny,b,2,test\n")
    assert opened("table", csv_name="mine.csv").classes == ("a", "b")


@pytest.mark.parametrize("kind, options, words", [
    ("table", dict(csv="mine.csv"), "has no option 'csv': it takes csv_name, test_fraction, seed"),
    ("phantom", dict(seed=1), "it takes none"),
    ("table", dict(test_fraction="0.3"), "test_fraction of the source table is '0.3'.*type float"),
    ("table", dict(csv_name="../mine.csv"), "no bare file name"),
])
def test_wrong_options_are_named(opened, kind, options, words):
    with pytest.raises(UserError, match=words):
        opened(kind, **options)


def test_the_phantom_in_the_official_layout_is_read_like_the_official_set(tmp_path, opened):
    """Names, separators, trailing spaces, mixed sizes and RGBA files go through the loader and the guards."""
    settings = Simulate(difficulty="default", frame_size=16, train_patients=12, test_patients=12, fresh_images=0,
                        preset_specificity=0.25)
    count = write_official_layout(tmp_path / "raw", settings, root_seed=0)
    source = opened("fetal_planes_db", official=False)
    assert len(source.table) == count and len(source.missing()) == 0
    assert set(source.table["role"]) == {"train", "test"}
    assert set(source.table["label"]) <= set(source.classes)
    scanned = scan(source)
    assert scanned.usable.all() and len(np.unique(scanned.sizes, axis=0)) > 1
    with pytest.raises(UserError, match="not the complete official table"):
        opened("fetal_planes_db")
