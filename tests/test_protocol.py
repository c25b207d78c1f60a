"""params.yaml: every wrong key, value or relation ends in a sentence that names it."""

import json

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from synthplanes.errors import UserError
from synthplanes.protocol.profiles import read_profile, read_protocol


@pytest.fixture
def text(repository):
    return (repository / "params.yaml").read_text(encoding="utf-8")


def refused(tmp_path, text) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_protocol(path)
    message = str(caught.value)
    assert "\n" not in message and "params.yaml" in message
    return message


def test_the_committed_protocol_is_valid(repository):
    protocol = read_protocol(repository / "params.yaml")
    assert {"smoke", "phantom", "african", "fetal_planes"} <= set(protocol.profiles)
    assert read_profile("phantom", repository / "params.yaml").replication.seeds >= 6


@pytest.mark.parametrize(("old", "new", "named"), [
    ("      seeds: 6 ", "      sedes: 6 ", "replication"),
    ("      seeds: 6 ", "      seeds: six ", "profiles.phantom.replication.seeds"),
    ("      seeds: 6 ", "      seeds: 0 ", "profiles.phantom.replication.seeds"),
    ("      seeds: 6 ", "      seeds: 6.5 ", "profiles.phantom.replication.seeds"),
    ("      sigma_min: 0.02", "      sigma_min: 50.0", "sigma_min 50.0 must be smaller than sigma_max"),
    ("guidance_interval: [0.05, 5.0]", "guidance_interval: [5.0, 0.05]", "must be [lowest, highest]"),
    ("      channels: [64, 128]     #", "      channels: [60, 128]     #", "multiples of 16"),
    ("      channels: [64, 128]     #", "      channels: [32, 32, 32, 32, 32] #", "must be a multiple of 64"),
    ("      mixed_synthetic_share: 0.5", "      mixed_synthetic_share: 0.001", "leaves no room"),
    ("      rehearsal_share: 0.0", "      rehearsal_share: 1.0", "leaves no room for real images"),
    ("      scarce: 0.25", "      scarce: null", "at least to something other than null"),
    ("budgets: [scarce]", "budgets: [low-data]", "budgets"),
    ("budgets: [scarce]", "budgets: [scarce, half]", "budgets names ['half'], which profiles.phantom.budgets"),
    ("      scarce: 0.25", "      scarce: 0.25\n      half: 0.5", "profiles.phantom.budgets uses ['half'], which budgets"),
    ("      validation_fraction: 0.4", "      validation_fraction: 1.5", "profiles.phantom.prepare.validation_fraction"),
    ("      guidance: classifier ", "      guidance: telepathy ", "profiles.phantom.sample.guidance"),
    ("      plateau_seeds: 3 ", "      plateau_seeds: 30 ", "plateau_seeds is larger"),
    ("mixed_archs: [residual] ", "mixed_archs: [residual, imaginary]", "recipe.mixed_archs names ['imaginary']"),
    ("control_archs: [residual]", "control_archs: [recurrent]", "recurrent"),
    ("channels: [64, 128, 128]", "channels: [64, 100, 128]", "multiples of 16"),
    ("      fresh_images: 2400", "      fresh_images: 0", "oracle"),
    ("profile: [phantom]", "profile: [fantom]", "fantom"),
    ("archs: [residual, convolutional, attention]", "archs: [residual, convolutional]",
     "profiles.phantom.archs uses ['attention'], which archs at the top does not name"),
    ("      source: phantom ", "      source: table ", "simulate must be given"),
])
def test_every_fault_is_named(text, tmp_path, old, new, named):
    assert old in text
    assert named in refused(tmp_path, text.replace(old, new, 1))


def test_a_simulated_profile_has_its_note_in_place_of_raw_images(repository):
    """DVC wants the folder of every profile that is run, and a simulated one fetches nothing."""
    for name, profile in read_protocol(repository / "params.yaml").profiles.items():
        if profile.simulate:
            assert (repository / "artifacts" / "raw" / name / "NOTHING_TO_FETCH.txt").exists(), name


def test_a_profile_that_is_not_run_may_use_roles_that_the_others_lack(text, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("    budgets: {scarce: 0.5}", "    budgets: {scarce: 0.5, half: 0.5}"))
    assert read_profile("smoke", path).used_budgets() == {"scarce": 0.5, "half": 0.5}


def test_not_yaml_not_there_not_a_mapping(tmp_path):
    assert "not readable YAML" in refused(tmp_path, "profile: [phantom\nx: }")
    assert "no mapping" in refused(tmp_path, "- 1\n- 2\n")
    with pytest.raises(UserError, match="does not exist"):
        read_protocol(tmp_path / "nothing.yaml")


def test_unknown_profile(repository):
    with pytest.raises(UserError, match="no profile 'moon': choose one of"):
        read_profile("moon", repository / "params.yaml")


def mappings(node: dict, path: tuple = ()) -> list[tuple]:
    """The paths of all mappings that hold a number."""
    below = [found for key, value in node.items() if isinstance(value, dict) for found in mappings(value, (*path, key))]
    return below + ([path] if any(isinstance(value, int | float) for value in node.values()) else [])


def test_dvc_can_set_every_section_of_every_profile_and_nothing_else(repository, tmp_path):
    """`dvc exp run -S` writes all sections back, one after the other: an aliased one would undo the change unseen."""
    yaml, file = YAML(typ="safe", pure=True), tmp_path / "params.yaml"
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    overrides, expected = [], json.loads(json.dumps(yaml.load(text)))  # without sharing
    for path in mappings(expected["profiles"]):
        section = expected["profiles"]
        for key in path:
            section = section[key]
        name = next(key for key, value in section.items() if isinstance(value, int | float))
        section[name] = 1000 + len(overrides)
        overrides.append(f"profiles.{'.'.join(path)}.{name}={section[name]}")
    file.write_text(text, encoding="utf-8")
    apply_overrides(str(file), overrides)
    assert len(overrides) > 50 and yaml.load(file.read_text(encoding="utf-8")) == expected
