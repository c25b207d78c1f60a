"""params.yaml: every wrong key, value or relation ends in a sentence that names it, and a profile stands on its own."""

import json

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from synthplanes.errors import UserError
from synthplanes.protocol.arms import OPTIONS
from synthplanes.protocol.cells import STAGES
from synthplanes.protocol.config import Section
from synthplanes.protocol.profiles import (
    Profile,
    active_profile,
    from_subset,
    read_names,
    read_profile,
    resolved,
    subset,
)


@pytest.fixture
def text(repository):
    return (repository / "params.yaml").read_text(encoding="utf-8")


def message(tmp_path, text, name="phantom") -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_profile(name, path)
    assert "\n" not in str(caught.value) and "params.yaml" in str(caught.value)
    return str(caught.value)


def test_the_committed_profiles_are_valid(repository):
    path = repository / "params.yaml"
    assert {"smoke", "phantom", "phantom_64", "african", "fetal_planes"} <= set(read_names(path))
    for name in read_names(path):
        assert read_profile(name, path).runs(), name
    assert active_profile(path) == "phantom" and read_profile("phantom", path).replication.seeds >= 5


@pytest.mark.parametrize(("old", "new", "named"), [
    ("      seeds: 5 ", "      sedes: 6 ", "replication"),
    ("      seeds: 5 ", "      seeds: six ", "profiles.phantom.replication.seeds"),
    ("      seeds: 5 ", "      seeds: 0 ", "profiles.phantom.replication.seeds"),
    ("      seeds: 5 ", "      seeds: 6.5 ", "profiles.phantom.replication.seeds"),
    ("      sigma_min: 0.02", "      sigma_min: 50.0", "sigma_min 50.0 must be smaller than sigma_max"),
    ("guidance_interval: [0.05, 5.0]", "guidance_interval: [5.0, 0.05]", "must be [lowest, highest]"),
    ("      channels: [64, 128]     #", "      channels: [60, 128]     #",
     "profiles.phantom.train_guide.channels.0: Input should be a multiple of 16"),
    ("      channels: [64, 128]     #", "      channels: [32, 32, 32, 32, 32] #", "must be a multiple of 64"),
    ("joint_synthetic_fraction: 0.75", "joint_synthetic_fraction: 0.001", "leaves no room"),
    ("rehearsal_fraction: 0.0 ", "rehearsal_fraction: 1.0 ", "leaves no room for real images"),
    ("      scarce: 0.25", "      low-data: 0.25", "budgets"),
    ("    budgets:                  # fraction of the training patients, validation included\n      scarce: 0.25\n",
     "    budgets: {}\n", "budgets and archs must each name one role"),
    ("      validation_fraction: 0.8", "      validation_fraction: 1.5",
     "profiles.phantom.prepare.validation_fraction"),
    ("      guidance: none ", "      guidance: telepathy ", "profiles.phantom.sample.guidance"),
    ("        joint: [residual]\n", "        joint: [residual, imaginary]\n",
     "recipe.optional_arms.joint names ['imaginary']"),
    ("        joint: [residual]\n", "        joined: [residual]\n", "recipe.optional_arms names ['joined']"),
    ("channels: [32, 64, 64]", "channels: [32, 50, 64]",
     "profiles.phantom.train_diffusion.network.channels.1: Input should be a multiple of 16"),
    ("      fresh_images: 4800", "      fresh_images: 0", "oracle"),
    ("      disjoint_patients: false", "      disjoint_patients: sometimes",
     "profiles.phantom.replication.disjoint_patients"),
    ("      source: phantom ", "      source: table ", "simulate must be given"),
    ("      instructions: avx2 ", "      instructions: sse ", "compute.instructions"),
    ("profile: phantom\n", "profile: phantom\nbudgets: [scarce]\n", "budgets: is not a known key"),
])
def test_every_fault_is_named(text, tmp_path, old, new, named):
    assert old in text
    assert named in message(tmp_path, text.replace(old, new, 1))


@pytest.mark.parametrize(("old", "new", "named"), [
    ("generators: 6,", "generators: 7,", "7 generators have no patients of their own at the largest of budgets"),
    ("    prepare: {image_size: 64}", "    prepare: {image_size: 64, cross_validation: patients}",
     "replication.disjoint_patients: in cross-validation replicates share"),
])
def test_patients_of_their_own_must_be_possible(text, tmp_path, old, new, named):
    assert old in text
    assert named in message(tmp_path, text.replace(old, new, 1), "phantom_64")


def test_a_simulated_profile_has_its_note_in_place_of_raw_images(repository):
    """DVC wants the folder of every profile that is run, and a simulated one fetches nothing."""
    for name in read_names(repository / "params.yaml"):
        if read_profile(name, repository / "params.yaml").simulate:
            assert (repository / "artifacts" / "raw" / name / "NOTHING_TO_FETCH.txt").exists(), name


def test_a_profile_states_only_what_it_changes(repository):
    """No value of a profile that is based on another repeats what it inherits."""
    path = repository / "params.yaml"
    written = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))["profiles"]
    for name, own in written.items():
        if "based_on" not in own:
            continue
        inherited = resolved(own["based_on"], path)
        for keys, value in leaves({key: part for key, part in own.items() if key != "based_on"}):
            before = inherited
            for key in keys:
                before = before.get(key) if isinstance(before, dict) else None
            assert before != value or before is None, f"profiles.{name}.{'.'.join(keys)} repeats {value!r}"


def leaves(node: dict, path: tuple = ()):
    for key, value in node.items():
        if isinstance(value, dict) and value and path[:1] != ("archs",) and "label_classifier" not in path:
            yield from leaves(value, (*path, key))
        elif "label_classifier" not in path and path[:1] != ("archs",):
            yield (*path, key), value


def test_null_removes_a_role_and_replaces_a_section(text, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text + "\n  mine:\n    based_on: african_cv\n    budgets: {scarce: null, all: 1.0}\n"
                    "    recipe: {optional_arms: {joint: null}}\n", encoding="utf-8")
    mine, base = read_profile("mine", path), read_profile("african_cv", path)
    assert mine.budgets == {"all": 1.0} and list(mine.archs) == ["residual"] and mine.simulate is None
    assert set(base.recipe.optional_arms) - set(mine.recipe.optional_arms) == {"joint"}
    assert mine.train_diffusion == base.train_diffusion


def test_a_broken_profile_touches_no_other(text, tmp_path):
    """Not its own values, not those that DVC would read, whatever stands in it."""
    path = tmp_path / "params.yaml"
    before = {name: read_profile(name, write(path, text)) for name in read_names(write(path, text))}
    for addition in ("  mine: 7\n", "  mine:\n    based_on: nowhere\n", "  mine:\n    based_on: mine\n",
                     "  mine:\n    based_on: phantom\n    replication: {seeds: many}\n", "  mine:\n"):
        write(path, f"{text}\n{addition}")
        assert {name: read_profile(name, path) for name in before} == before
        assert "mine" in message(tmp_path, f"{text}\n{addition}", "mine")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_not_yaml_not_there_not_a_mapping(tmp_path):
    assert "not readable YAML" in message(tmp_path, "profile: [phantom\nx: }")
    assert "no mapping" in message(tmp_path, "- 1\n- 2\n")
    assert "profiles: is missing" in message(tmp_path, "profile: phantom\n")
    with pytest.raises(UserError, match="does not exist"):
        read_profile("phantom", tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="write the name of one profile"):
        active_profile(write(tmp_path / "params.yaml", "profile: [phantom, smoke]\nprofiles: {}\n"))


def test_a_name_that_no_path_can_hold(text, tmp_path):
    text += "\n  my-name: {based_on: smoke}\n"
    assert "profiles.my-name: a name consists of" in message(tmp_path, text, "my-name")


def test_unknown_profile(repository):
    with pytest.raises(UserError, match="no profile 'moon': choose one of"):
        read_profile("moon", repository / "params.yaml")


def mappings(node: dict, path: tuple = ()) -> list[tuple]:
    """The paths of all mappings that hold a number."""
    below = [where for key, value in node.items() if isinstance(value, dict) for where in mappings(value, (*path, key))]
    return below + ([path] if any(isinstance(value, int | float) for value in node.values()) else [])


def test_dvc_can_set_every_section_of_every_profile_and_nothing_else(repository, tmp_path):
    """`dvc exp run -S` writes all sections back, one after the other: an aliased one would undo the change unseen."""
    yaml, file = YAML(typ="safe", pure=True), tmp_path / "params.yaml"
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    overrides, expected = ["profile=smoke"], json.loads(json.dumps(yaml.load(text)))  # without sharing
    expected["profile"] = "smoke"
    for path in mappings(expected["profiles"]):
        section = expected["profiles"]
        for key in path:
            section = section[key]
        name = next(key for key, value in section.items() if isinstance(value, int | float))
        section[name] = 1000 + len(overrides)
        overrides.append(f"profiles.{'.'.join(path)}.{name}={section[name]}")
    file.write_text(text, encoding="utf-8")
    apply_overrides(str(file), overrides)
    assert len(overrides) > 40 and yaml.load(file.read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gets_its_parameters_and_no_others(repository, stage):
    profile = read_profile("phantom", repository / "params.yaml")
    values = json.loads(json.dumps(subset(profile, STAGES[stage].reads)))
    partial = from_subset(values)
    for name in Profile.model_fields:
        if name not in values:
            with pytest.raises(AttributeError):
                getattr(partial, name)
            continue
        section, whole = getattr(partial, name), getattr(profile, name)
        if not isinstance(whole, Section):
            assert section == whole
            continue
        for field in type(whole).model_fields:
            if field in values[name]:
                assert getattr(section, field) == getattr(whole, field)
            else:
                with pytest.raises(AttributeError):
                    getattr(section, field)


def test_every_option_switches_an_arm_on(repository):
    profile = read_profile("phantom", repository / "params.yaml")
    for option in OPTIONS:
        recipe = profile.recipe.model_copy(update={"optional_arms": {option: ["residual"]}})
        arms = {arm for arm, *_ in profile.model_copy(update={"recipe": recipe}).runs()}
        none = profile.recipe.model_copy(update={"optional_arms": {}})
        assert arms > {arm for arm, *_ in profile.model_copy(update={"recipe": none}).runs()}, option
