import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from synthplanes import records
from synthplanes.data import images, packs
from synthplanes.data.preparation.preparing import inspect, prepare
from synthplanes.data.sources.listed_files import open_table
from synthplanes.data.sources.published import open_published
from synthplanes.errors import UserError


@pytest.fixture
def source(make_source):
    rows = [(f"p{patient}", label, "test" if patient >= 15 else "train")
            for patient in range(20) for label in "ab"]
    return make_source(rows + [("f1", "a", "fresh"), ("f2", "b", "fresh")])


@pytest.fixture
def prepared(make_profile, make_guards):
    """Prepare a source in two budgets and two replicates; keyword arguments are policies or parameters of `prepare`."""
    def run(source, folder, parameters=(), **policies):
        profile = make_profile(dict(scarce=0.4, full=1.0), 2, 3, validation_fraction=0.25,
                               guards=make_guards(**policies).model_dump(), **dict(parameters))
        return prepare(source, profile, folder)
    return run


def test_packs_hold_the_frames_of_their_roles(source, tmp_path, prepared):
    content = prepared(source, tmp_path)
    for name, role, count in (("development", "train", 30), ("test", "test", 10), ("fresh", "fresh", 2)):
        pack = packs.read_pack(tmp_path / name)
        rows = np.flatnonzero(source.table["role"] == role)
        assert len(pack) == count
        assert pack.index["image_id"].tolist() == source.table["image_id"].iloc[rows].tolist()
        for frame, row in zip(pack.images, rows, strict=True):
            np.testing.assert_array_equal(frame, images.frame(source.frames[row], 16))
    assert records.read_json(tmp_path / "classes.json") == ["a", "b"]
    assert content["roles"]["train"] == dict(
        images=30, patients=15, classes={label: dict(images=15, patients=15) for label in "ab"},
        scanners={"": dict(images=30, patients=15, classes=dict(a=15, b=15))}, sub_planes={})
    assert content["native_sizes"] == {"32x24": 42}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.json", "contact_sheet.png", "development", "fresh", "splits.csv", "test"]


def test_splits_cover_the_development_set_and_are_counted(source, tmp_path, prepared):
    content = prepared(source, tmp_path)
    table = records.read_table(tmp_path / "splits.csv", records.SPLITS)
    development = packs.read_pack(tmp_path / "development").index
    full = table[(table["budget"] == "full") & (table["replicate"] == 1)]
    assert full["image_id"].tolist() == development["image_id"].tolist()
    counted = {(entry["budget"], entry["replicate"], entry["role"]): entry for entry in content["budgets"]}
    assert len(counted) == 8
    assert counted["full", 1, "validation"]["patients"] == 4
    assert sum(counted["scarce", 0, role]["images"] for role in ("train", "validation")) == 12


def test_what_is_dropped_is_reported(source, tmp_path, prepared):
    source.frames[0] = source.frames[38]  # p0 is the test patient p19
    source.frames[4] = None
    content = prepared(source, tmp_path, missing="use_what_is_there")
    assert content["duplicates"]["exact_across_roles"] == dict(groups=1, images=2, image_ids=[["i38", "i0"]])
    assert {reason: entry["image_ids"] for reason, entry in content["dropped"].items()} == dict(
        exact_across_roles=["i0"], linked_patients=["i1"], missing=["i4"])
    assert content["dropped"]["missing"]["images"] == 1
    assert content["linked_patients"] == {"p19": "p0"}
    development = packs.read_pack(tmp_path / "development").index["image_id"].tolist()
    assert len(development) == 27 and not {"i0", "i1", "i4"} & set(development)
    json.dumps(content, allow_nan=False)


def test_the_same_source_gives_the_same_bytes(source, tmp_path, prepared):
    assert prepared(source, tmp_path / "1") == prepared(source, tmp_path / "2")
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes(), file


def test_text_is_masked_before_the_reduction(source, tmp_path, prepared):
    prepared(source, tmp_path, dict(masked_boxes=[[0.0, 0.0, 1.0, 0.5]]))
    frames = packs.read_pack(tmp_path / "development").images
    # The reduction's kernel lets a grey value of 1 or 2 through beside the mask's edge.
    assert frames[:, :6].max() <= 2 and frames[:, 9:14].max() > 200


def test_a_box_that_is_none_is_refused(make_profile):
    with pytest.raises(ValidationError, match="masked_boxes"):
        make_profile(masked_boxes=[[0.6, 0.0, 0.5, 1.0]])


def test_a_refusal_writes_no_pack_and_keeps_the_old_one(source, tmp_path, prepared):
    prepared(source, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source.frames[0] = source.frames[39]
    with pytest.raises(UserError, match="identical images on two roles"):
        prepared(source, tmp_path, exact_across_roles="error")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_inspect_says_what_would_stop(source, make_guards):
    assert not inspect(source, make_guards())[1]
    source.frames[3] = None
    lines, stops = inspect(source, make_guards())
    text = "\n".join(lines)
    assert stops and "STOP: 1 of 42 images of the table have no file, first i3.png" in text
    assert "b: 15 images of 15 patients, 14 readable" in text


@pytest.mark.parametrize("shade", [0, 1])
def test_a_frame_that_all_patients_share_is_named(tmp_path, make_guards, shade):
    """A title or a test frame makes one person of all patients, so that no test can be drawn."""
    draws, lines = np.random.default_rng(1), ["path,label,patient"]
    title = np.kron(draws.integers(0, 200, (6, 8)), np.ones((4, 4)))
    for patient in range(8):
        own = np.kron(draws.integers(0, 256, (6, 8)), np.ones((4, 4)))
        for label, frame in (("a", title + shade * patient), ("b", own)):
            Image.fromarray(frame.astype(np.uint8)).save(tmp_path / f"{patient}{label}.png")
            lines.append(f"{patient}{label}.png,{label},{patient}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="8 patients share an image, such as 0a.png or 1a.png: if it is a title"):
        inspect(open_table(tmp_path), make_guards())


def test_the_african_set_is_packed(african_folder, tmp_path, prepared):
    source = open_published("african_planes", african_folder)
    content = prepared(source, tmp_path, dict(image_size=32))
    assert len(packs.read_pack(tmp_path / "development")) == 175
    assert len(packs.read_pack(tmp_path / "test")) == 233
    across = content["duplicates"]["exact_across_roles"]
    assert (across["groups"], across["images"]) == (22, 44)
    assert ["patient052_DZA_plane2", "patient024_DZA_plane2"] in across["image_ids"]
    assert sum(content["native_sizes"].values()) == 450
    assert content["publication"]["doi"] == "10.5281/zenodo.7540448"
    for name in ("development", "test"):
        assert packs.read_pack(tmp_path / name).images.std(axis=(1, 2)).min() > 5


def test_the_hundred_official_images(fetal_folder, tmp_path, prepared, make_guards, make_profile):
    source = open_published("fetal_planes_db", fetal_folder)
    lines, stops = inspect(source, make_guards())
    text = "\n".join(lines)
    assert stops
    assert ("STOP: 12,300 of 12,400 images of the table have no file, "
            "first Images/Patient00001_Plane1_1_of_15.png") in text
    assert "Maternal cervix: 981 images of 499 patients, 0 readable" in text
    assert "Fetal abdomen: 353 images of 292 patients, 20 readable" in text
    with pytest.raises(UserError, match="12,300 of 12,400"):
        prepared(source, tmp_path / "no")
    assert not (tmp_path / "no").exists()
    profile = make_profile(dict(full=1.0), guards=make_guards(missing="use_what_is_there").model_dump(), image_size=32)
    with pytest.raises(UserError, match="no test patient has an image of Fetal abdomen, Fetal brain"):
        prepare(source, profile, tmp_path)  # the hundred are training images
