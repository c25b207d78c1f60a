"""The official loader on thousands of files: a phantom written in FETAL_PLANES_DB's layout, read back and packed."""

import numpy as np
import pytest

from synthplanes import records
from synthplanes.data.preparation.guards import Policies
from synthplanes.data.packs import read_pack
from synthplanes.phantom import Phantom, simulate, write_official_layout
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.opening import open_source

SETTINGS = Phantom(train_patients=180, test_patients=160, frame_size=48, root_seed=11)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    assert write_official_layout(SETTINGS, folder) > 2000
    return folder


def test_thousands_of_files_arrive_as_they_were_simulated(raw, tmp_path):
    _, table, _ = simulate(SETTINGS)
    source = open_source("fetal_planes_db", raw, tmp_path, {"official": False})
    content = prepare(source, 48, Policies(), {"scarce": 0.5}, 0.15, 1, 1, tmp_path / "prepared")
    assert content["rows_in_table"] == len(table) > 2000
    for role, folder in (("train", "development"), ("test", "test")):
        pack = read_pack(tmp_path / "prepared" / folder)
        mine = table["role"] == role
        for column in ("label", "scanner", "operator", "sub_plane"):
            simulated = table[column][mine].tolist()
            assert sorted(pack.index[column].tolist()) == sorted(simulated), column
        assert len(set(pack.index["patient_id"].tolist())) == len(set(table["patient_id"][mine].tolist()))
        assert pack.images.shape[1:] == (48, 48) and 10 < np.mean(pack.images) < 80
    splits = records.read_table(tmp_path / "prepared" / "splits.csv", records.SPLITS)
    assert set(splits["role"].tolist()) == {"train", "validation"}
    assert len(content["native_sizes"]) == 5
