"""What training reads of a prepared source: budgets, pools and whole packs."""

import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.packs import write_pack
from synthplanes.data.selection import read_all, read_budget, read_classes, read_pools
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths


def frames(*values):
    return np.array(values, np.uint8).repeat(16).reshape(-1, 4, 4)


@pytest.fixture
def paths(tmp_path):
    """Four development images, three of them in a budget, two synthetic images and three fresh ones."""
    paths = Paths("mine", tmp_path)

    def index(ids, labels, role):
        return records.INDEX.frame(dict(image_id=image_id, patient_id=f"p{image_id}", label=label, role=role,
                                        scanner="s", operator="", sub_plane="", sha256="")
                                   for image_id, label in zip(ids, labels, strict=True))

    write_pack(paths.prepared / "development", frames(1, 2, 3, 4), index("wxyz", "abba", "train"))
    write_pack(paths.prepared / "fresh", frames(7, 8, 9), index("fgh", "aab", "fresh"))
    records.write_json(paths.prepared / "classes.json", ["b", "a"])
    records.write_table(paths.prepared / "splits.csv", records.SPLITS.frame(
        dict(budget="half", replicate=1, image_id=image_id, role=role)
        for image_id, role in (("z", "train"), ("x", "train"), ("w", "validation"))), records.SPLITS)
    write_pack(paths.replicate("synthetic", "half", 1), frames(5, 6), records.SYNTHETIC.frame(
        dict(image_id=name, label=label, scanner="", budget="half", replicate=1, seed=0)
        for name, label in (("s0", "a"), ("s1", "b"))), records.SYNTHETIC)
    return paths


def test_a_budget_is_read_in_the_order_of_its_splits(paths):
    train = read_budget(paths.prepared, "half", 1, "train")
    assert read_classes(paths.prepared) == train.classes == ("b", "a")
    assert train.image_ids.tolist() == ["z", "x"] and train.patient_ids.tolist() == ["pz", "px"]
    assert train.labels.tolist() == [1, 0] and train.images[:, 0, 0].tolist() == [4, 2]
    assert train.labels.dtype == np.int64 and train.image_ids.dtype.kind == train.scanners.dtype.kind == "U"
    assert train.first(1).image_ids.tolist() == ["z"] and len(train.select(np.array([1, 1]))) == 2
    assert read_budget(paths.prepared, "half", 1, "validation").image_ids.tolist() == ["w"]


def test_what_a_budget_does_not_have_is_named(paths):
    with pytest.raises(UserError, match="no test image for budget 'half', replicate 1"):
        read_budget(paths.prepared, "half", 1, "test")
    with pytest.raises(UserError, match="no train image for budget 'half', replicate 0"):
        read_budget(paths.prepared, "half", 0, "train")
    with pytest.raises(UserError, match="the class 'b' is not one of a, c"):
        read_all(paths.prepared / "development", ("a", "c"))


def test_pools_hold_no_more_fresh_images_than_synthetic_ones(paths):
    pools = read_pools(paths, "half", 1)
    assert list(pools) == ["real", "synthetic", "fresh"]
    assert pools["synthetic"].images[:, 0, 0].tolist() == [5, 6] and pools["synthetic"].patient_ids is None
    assert pools["fresh"].images[:, 0, 0].tolist() == [7, 8] and pools["fresh"].labels.tolist() == [1, 1]


def test_without_fresh_images_there_is_no_such_pool(paths):
    write_pack(paths.prepared / "fresh", np.zeros((0, 4, 4), np.uint8), records.INDEX.frame([]))
    assert list(read_pools(paths, "half", 1)) == ["real", "synthetic"]
