"""Relations between settings: every rule has its sentence, and what no rule refuses runs."""

import json
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthplanes.diffusion.guidance import read_guide, train_guide
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.diffusion.training import Task, train
from synthplanes.errors import UserError
from synthplanes.protocol import cells, rules
from synthplanes.protocol.profiles import Profile, from_subset, read_profile
from tests.small_profile import small_profile_parameters
from tests.tiny_cells import tiny_profile
from tests.tiny_generator import squares

BOTH = {"train_diffusion.early_average_fraction": 1.0, "sample.guidance": "auto"}


@cache
def base() -> str:
    return json.dumps(small_profile_parameters())


@cache
def tiny() -> str:
    return tiny_profile().model_dump_json()


def changed(changes: dict, whole: dict | None = None) -> dict:
    """The parameters of the small profile, or others, with other values under dotted names."""
    whole = whole or json.loads(base())
    for name, value in changes.items():
        *path, last = name.split(".")
        place = whole
        for key in path:
            place = place[key]
        place[last] = value
    return whole


def sentence(tmp_path, changes: dict) -> str:
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps({"profile": "tiny", "profiles": {"tiny": changed(changes)}}))
    with pytest.raises(UserError) as caught:
        read_profile("tiny", file)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{file}: profiles.tiny")
    return str(caught.value)


BROKEN = [
    ({"simulate": None}, "simulate must be given"),
    ({"budgets": {}}, "must each name one role"),
    ({"recipe.optional_arms": {"x": []}}, "choose among"),
    ({"recipe.optional_arms": {"joint": ["nobody"]}}, "which archs does not have"),
    ({"recipe.optional_arms": {"oracle": ["residual"]}, "simulate.fresh_images": 0}, "need simulated fresh patients"),
    ({"replication.disjoint_patients": True, "replication.generators": 2, "prepare.cross_validation": "patients"},
     "replicates share the patients"),
    ({"sample.sigma_max": 0.01}, "must be smaller than sigma_max"),
    ({"sample.guidance_interval": [5.0, 1.0]}, "must be [lowest, highest]"),
    ({"recipe.joint_synthetic_fraction": 0.0}, "leaves no room for both"),
    ({"recipe.rehearsal_fraction": 1.0}, "leaves no room for real"),
    ({"compute.threads": 65}, "compute.threads 65 is more than train_diffusion.batch_size 64"),
    ({"compute.threads": 10 ** 6}, "compute.threads"),
    ({"train_diffusion.network.dropout": 1.0}, "network.dropout"),
    ({"train_diffusion.condition_dropout": 0.0, "sample.guidance": "classifier_free"}, "never trains the unknown"),
    ({"train_diffusion.condition_dropout": 0.0, "sample.guidance": "classifier",
      "train_guide.input": "denoised_estimate"}, "never trains the unknown class"),
    ({"train_diffusion.condition_dropout": 1.0}, "never shows a class"),
    ({"train_diffusion.augmentation": 1.0}, "never shows an image as it is"),
    ({"train_diffusion.early_average_fraction": 0.0, "sample.guidance": "auto"}, "early_average_fraction above 0"),
    ({**BOTH, "train_diffusion.patience_images": 100, "train_diffusion.held_out_every_images": 64},
     "may end before the early average"),
    ({"train_diffusion.patience_images": 10, "train_diffusion.held_out_every_images": 64}, "before the second look"),
    ({"train_diffusion.learning_rate": 1e30}, "with which AdamW learns nothing"),
    ({"train_diffusion.noise_mean": 100.0}, "noise levels outside"),
    ({"train_diffusion.noise_mean": -100.0}, "noise levels outside"),
    ({"train_diffusion.noise_deviation": 100.0}, "noise levels outside"),
    ({"train_diffusion.noise_deviation": 0.1}, "the noise levels of training"),
    ({"train_diffusion.noise_mean": float("nan")}, "noise_mean"),
    ({"train_diffusion.noise_deviation": float("inf")}, "noise_deviation"),
    ({"sample.sigma_max": 1e300}, "the noise levels of training"),
    ({"sample.sigma_min": 1e-300}, "the noise levels of training"),
    ({"sample.sigma_max": 0.4}, "two sides of 0.5"),
    ({"sample.sigma_min": 30.0}, "two sides of 0.5"),
    ({"sample.rho": 1e-9}, "sample.rho"),
    ({"sample.rho": 1e9}, "sample.rho"),
    ({"sample.guidance": "auto", "sample.guidance_interval": [100.0, 200.0]}, "guidance never acts"),
    ({"sample.guidance": "classifier_free", "sample.guidance_scale": 0.0}, "draws images of no class"),
    ({"sample.guidance_scale": 1e30}, "guidance_scale"),
    ({"train_guide.channels": [16, 16, 16]}, "holds a single value"),
    ({"train_diffusion.network.attention_at": [3]}, "attention_at names a level"),
    ({"train_diffusion.network.channels": [32, 48]}, "multiples of 32"),
    ({"train_diffusion.network.channels": [32] * 5}, "must be a multiple of 32"),
    ({"train_diffusion.network.unshuffle": 8}, "must be a multiple of 32"),
    ({"train_diffusion.network.channels": [10 ** 6 * 16]}, "network.channels.0"),
    ({"recipe.batch_size": 1, "recipe.optional_arms": {}}, "recipe.batch_size gives a portion of 1"),
    ({"recipe.batch_size": 2}, "joint_synthetic_fraction gives a portion of 1"),
    ({"recipe.joint_synthetic_fraction": 0.125}, "joint_synthetic_fraction gives a portion of 1"),
    ({"recipe.joint_synthetic_fraction": 0.875}, "(the real images) gives a portion of 1"),
    ({"recipe.rehearsal_fraction": 0.125}, "rehearsal_fraction gives a portion of 1"),
    ({"recipe.rehearsal_fraction": 0.01}, "rehearsal_fraction gives a portion of 0"),
    ({"recipe.rehearsal_fraction": 0.875}, "(the real images) gives a portion of 1"),
    ({"audit.batch_size": 1}, "audit.batch_size gives a portion of 1"),
    ({"audit.label_classifier": {"model": "m", "learning_rate": .1, "options": {}, "pretrained": 16 * "0"}},
     "has no effect"),
    ({"recipe.label_smoothing": 1.0}, "recipe.label_smoothing"),
    ({"recipe.weight_decay": 1000.0}, "turns weights round"),
    ({"recipe.stage_2_learning_rate_ratio": 1e30}, "stage_2_learning_rate_ratio"),
    ({"train_guide.weight_decay": 1e9}, "turns weights round"),
    ({"archs.residual.learning_rate": 1e30}, "archs.residual.learning_rate"),
    ({"archs": {"mean": {"model": "test_resnet", "learning_rate": .1, "options": {}}}, "recipe.optional_arms": {}},
     "the mean over roles"),
    ({"budgets": {"b" * 61: 0.5}}, "budgets"),
    ({"budgets.scarce": 0.001}, "two are needed"),
    ({"prepare.masked_boxes": [[0.0, 0.0, 1.0, 1.0]]}, "blackens whole images"),
    ({"prepare.masked_boxes": [[0.5, 0.0, 0.5, 1.0]]}, "is no box"),
    ({"prepare.masked_boxes": [[0.0, 0.0, 1.5, 1.0]]}, "masked_boxes.0.2"),
    ({"prepare.cross_validation": "patients"}, "needs a fold"),
    ({"replication.disjoint_patients": True, "replication.generators": 4}, "no patients of their own"),
]


@pytest.mark.parametrize("changes, words", BROKEN)
def test_every_rule_has_its_sentence(tmp_path, changes, words):
    assert words in sentence(tmp_path, changes)


def test_every_rule_is_broken_above():
    """So that a rule without a test is found."""
    broken = set()
    for changes, _ in BROKEN:
        with suppress(ValueError):  # of a single value
            profile = from_subset(changed(changes))
            broken.add(next(number for number, (is_wrong, _) in enumerate(rules.RULES) if is_wrong(profile)))
    assert broken == set(range(len(rules.RULES)))


@pytest.mark.parametrize("changes", [
    {"compute.threads": 64}, {"recipe.batch_size": 2, "recipe.optional_arms": {}}, {"recipe.batch_size": 4},
    {"recipe.rehearsal_fraction": 0.25}, {"train_diffusion.images_seen": 1}, BOTH, {"sample.steps": 2},
    {"train_diffusion.condition_dropout": 0.0, "sample.guidance": "classifier"}, {"sample.guidance_scale": 0.0},
    {"replication.disjoint_patients": True, "replication.generators": 10, "budgets.scarce": 0.1},
])
def test_what_works_is_not_refused(changes):
    Profile.model_validate(changed(changes))


TINY = st.fixed_dictionaries({}, optional={
    "compute.threads": st.sampled_from([1, 2, 20]),
    "train_diffusion.batch_size": st.sampled_from([1, 2, 3, 16]),
    "train_diffusion.images_seen": st.sampled_from([1, 16]),
    "train_diffusion.learning_rate": st.sampled_from([1e-300, 1e-3, 1.0]),
    "train_diffusion.warmup_images": st.sampled_from([0, 10 ** 12]),
    "train_diffusion.ema_halflife_images": st.sampled_from([1, 10 ** 12]),
    "train_diffusion.noise_mean": st.floats(-30, 30),
    "train_diffusion.noise_deviation": st.floats(1e-6, 5),
    "train_diffusion.condition_dropout": st.sampled_from([0.0, 0.5, 1.0]),
    "train_diffusion.augmentation": st.sampled_from([0.0, 0.99, 1.0]),
    "train_diffusion.class_balance": st.floats(0, 1),
    "train_diffusion.early_average_fraction": st.sampled_from([0.0, 1e-9, 0.5, 1.0]),
    "train_diffusion.patience_images": st.sampled_from([None, 1, 16, 10 ** 9]),
    "train_diffusion.held_out_every_images": st.sampled_from([1, 16, 10 ** 9]),
    "train_diffusion.network.unshuffle": st.sampled_from([1, 2, 3, 4, 8]),
    "train_diffusion.network.channels": st.lists(st.sampled_from([16, 32]), min_size=1, max_size=3),
    "train_diffusion.network.attention_at": st.lists(st.integers(0, 3), max_size=2),
    "train_diffusion.network.dropout": st.sampled_from([0.0, 0.999, 1.0]),
    "train_guide.channels": st.lists(st.sampled_from([16, 32]), min_size=1, max_size=4),
    "train_guide.batch_size": st.sampled_from([1, 2, 5]),
    "train_guide.updates": st.sampled_from([1, 2]),
    "train_guide.input": st.sampled_from(["noisy_image", "denoised_estimate"]),
    "sample.guidance": st.sampled_from(["none", "classifier", "classifier_free", "auto"]),
    "sample.guidance_scale": st.sampled_from([0.0, 1.0, 100.0, 1e30]),
    "sample.guidance_interval": st.sampled_from([[0.0, 0.0], [0.0, 100.0], [5.0, 1.0], [100.0, 200.0]]),
    "sample.solver": st.sampled_from(["multistep", "heun", "ancestral"]),
    "sample.steps": st.sampled_from([2, 3, 7]),
    "sample.sigma_min": st.floats(1e-4, 1), "sample.sigma_max": st.floats(0.1, 200), "sample.rho": st.floats(0.1, 200),
    "sample.batch_size": st.sampled_from([1, 2, 10 ** 9]),
})


@given(changes=TINY)
@settings(max_examples=12, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_generator_is_refused_when_read_or_is_trained_and_draws(device, tmp_path_factory, changes):
    try:
        profile = Profile.checked(changed(changes, json.loads(tiny())), "params.yaml")
    except UserError as error:
        assert "\n" not in str(error)
        return
    images = squares(12)
    trained = train(Task(images, squares(6), profile.train_diffusion, 1, threads=profile.compute.threads), device)
    assert all(tensor.isfinite().all() for tensor in trained.weights.values())
    trained.denoiser.load_state_dict(trained.weights)
    guide = None
    tensors, description = train_guide(images, trained.denoiser.eval(), profile.train_guide, profile.train_diffusion,
                                       1, 0)
    if profile.sample.guidance == "classifier":
        from synthplanes.compute.weights import write_model
        folder = tmp_path_factory.mktemp("guide")
        write_model(folder, description, tensors)
        guide = read_guide(folder)
    elif profile.sample.guidance == "auto":
        assert trained.early
        guide = trained.average
    index = list_images(images, trained.denoiser.configuration.scanners, 1, "b", 0, 1)
    drawn = Sampler(trained.denoiser, guide, profile.sample, device).draw(index)
    assert drawn.images.shape == (2, 16, 16)


@pytest.fixture(scope="session")
def device():
    import torch
    return torch.device("cpu")


def test_compile_without_a_compiler_is_refused_before_training(tmp_path, monkeypatch):
    own = changed({"train_diffusion.compile": True})
    (tmp_path / "params.yaml").write_text(json.dumps({"profile": "tiny", "profiles": {"tiny": own}}))
    profile = read_profile("tiny", tmp_path / "params.yaml")  # which may be read anywhere
    paths = cells.Paths("tiny", tmp_path)
    from synthplanes import records
    for stage in cells.STAGES:
        records.write_json(paths.protocol_file(stage), cells.protocol_file(profile, stage, {}, ""))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    for stage in ("simulate", "prepare", "train_diffusion"):
        with pytest.raises(UserError, match="compile is true, and this machine lacks a C.. compiler: install it"):
            cells.read_cell(stage, "tiny", tmp_path)
    cells.read_cell("evaluate", "tiny", tmp_path)


@pytest.mark.parametrize("generators, seeds, folds, said", [
    (1, 5, "none", ""), (1, 4, "none", "replication.seeds is 4"), (5, 1, "none", ""),
    (4, 9, "none", "replication.generators is 4"), (9, 4, "patients", "replication.seeds is 4"),
    (2, 5, "patients", "")])
def test_too_few_repetitions_are_known_from_the_start(generators, seeds, folds, said):
    profile = Profile.model_validate(changed({
        "replication.generators": generators, "replication.seeds": seeds, "prepare.cross_validation": folds}))
    reason = rules.too_few_repetitions(profile)
    assert reason.startswith(said) and bool(said) == bool(reason)
