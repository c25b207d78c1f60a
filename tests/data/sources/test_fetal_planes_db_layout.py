"""The official loader on thousands of files: a phantom written in FETAL_PLANES_DB's layout, read back and packed."""

import numpy as np
import pytest

from synthplanes import records, seeds
from synthplanes.data.packs import read_pack
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.opening import open_source
from synthplanes.phantom import official_layout
from synthplanes.phantom.simulation import draw_patients
from synthplanes.protocol.config import Simulate

SETTINGS = Simulate(difficulty="default", frame_size=48, train_patients=180, test_patients=160, fresh_images=0,
                    preset_specificity=0.25)
ROOT_SEED = 11


def random_blocks(settings, root_seed, patient, aspects):
    """Frames of a patient that take no time to render, in place of the simulator's."""
    draws = seeds.generator(root_seed, "blocks", patient.role, patient.number)
    blocks = draws.integers(0, 100, (len(patient.views), 12, 12)).astype(np.uint8)
    side = settings.frame_size // 12
    return blocks.repeat(side, axis=1).repeat(side, axis=2), [{}] * len(blocks)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official_layout, "render_patient", random_blocks)
        assert official_layout.write_official_layout(folder, SETTINGS, ROOT_SEED) > 2000
    return folder


def test_thousands_of_files_arrive_as_they_were_simulated(raw, tmp_path, make_profile):
    patients = draw_patients(SETTINGS, ROOT_SEED)
    profile = make_profile({"scarce": 0.5}, root_seed=1, source="fetal_planes_db", source_options={"official": False},
                           image_size=48, validation_fraction=0.15)
    content = prepare(open_source(profile.prepare, raw, tmp_path), profile, tmp_path / "prepared")
    assert content["rows_in_table"] == sum(len(patient.views) for patient in patients) > 2000
    for role, folder in (("train", "development"), ("test", "test")):
        pack = read_pack(tmp_path / "prepared" / folder)
        mine = [patient for patient in patients if patient.role == role]
        views = [(view.label, patient.scanner, patient.operator, view.sub_plane if view.label == "Fetal brain" else "")
                 for patient in mine for view in patient.views]
        columns = pack.index[["label", "scanner", "operator", "sub_plane"]]
        assert sorted(columns.itertuples(index=False, name=None)) == sorted(views)
        assert pack.index["patient_id"].nunique() == len(mine)
        assert pack.images.shape[1:] == (48, 48) and 10 < np.mean(pack.images) < 80
    splits = records.read_table(tmp_path / "prepared" / "splits.csv", records.SPLITS)
    assert set(splits["role"]) == {"train", "validation"}
    assert len(content["native_sizes"]) == 5
