import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.preparation.guards import check_table
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


def test_a_simulated_patient_has_one_spelling(tmp_path, make_table, opened):
    table = make_table([("p1", "a", "train"), ("P01", "b", "test")])
    write_simulated(tmp_path / "s", np.zeros((2, 4, 4), np.uint8), table)
    with pytest.raises(UserError, match="spells one patient in several ways, 'p1' .* and 'P01'"):
        opened("phantom")


PUBLISHED = ("fetal_planes_db", "Image_name,Patient_num,Plane,Brain_plane,Operator,US_Machine,Train",
             "{name},{patient},Other,Not A Brain,Op. 1,Aloka,{train}")
AFRICAN = ("african_planes", "Image_name,Patient_num,Plane,Train,Center", "{name},{patient},Fetal brain,{train},Egypt")
OWN = ("table", "path,patient,label,role", "{name},{patient},{name},{train}")


@pytest.mark.parametrize("kind, header, row", [PUBLISHED, AFRICAN, OWN])
@pytest.mark.parametrize("first, second", [("7", "007"), ("7", "7.0"), ("P7", "p07"), ("x y", "X\u00a0Y")])
def test_no_source_lets_one_person_be_on_two_roles(tmp_path, opened, make_guards, kind, header, row, first, second):
    name = "table.csv" if kind == "table" else PUBLICATIONS[kind].csv_name
    train, test = ("train", "test") if kind == "table" else ("1", "0")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_text("\n".join([
        header, row.format(name="i", patient=first, train=train), row.format(name="j", patient=second, train=test)]))
    options = {} if kind == "table" else dict(official=False)
    with pytest.raises(UserError, match="spells one patient in several ways.*merge_spellings"):
        opened(kind, **options)
    source = opened(kind, merge_spellings=True, **options)
    findings = {finding.kind: finding.stops for finding in check_table(source, source.missing()[:0], make_guards())}
    assert findings == dict(spelling=False, patient_on_two_roles=True)


def test_a_flag_and_a_name_as_other_programs_write_them(tmp_path, opened):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / PUBLICATIONS["fetal_planes_db"].csv_name).write_text("\n".join([
        PUBLISHED[1], PUBLISHED[2].format(name="i.png", patient=1, train="1.0"),
        PUBLISHED[2].format(name="j", patient=2, train="0.0")]))
    table = opened("fetal_planes_db", official=False).table
    assert table["role"].tolist() == ["train", "test"] and table["file"].tolist() == ["Images/i.png", "Images/j.png"]


def test_a_patient_number_without_a_centre_is_nobody(tmp_path, opened):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / PUBLICATIONS["african_planes"].csv_name).write_text("\n".join([
        AFRICAN[1], AFRICAN[2].format(name="i", patient=1, train=1).replace("Egypt", "n/a")]))
    with pytest.raises(UserError, match="1 images have no Center"):
        opened("african_planes", official=False)


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
