"""The table of arms: equal updates, equal learning-rate integrals, and which cells a profile asks for."""

import pytest

from synthplanes.protocol.arms import ARMS, arms_of, expected_cells, needed_by, single_stage_ratio, updates_of
from synthplanes.protocol.profiles import read_profile

STAGES = ("baseline", "pretrain", "finetune", "joint")


@pytest.fixture
def phantom(repository):
    return read_profile("phantom", repository / "params.yaml")


def test_all_full_arms_spend_the_same_updates(phantom):
    whole = phantom.recipe.stage_1_updates + phantom.recipe.stage_2_updates
    for name in ("real", "real_augmented", "real_by_patient", "real_distilled", "real_two_stage", "synthetic_then_real", "mixed", "oracle_then_real", "null_then_real",
                 "poison_then_real"):
        assert updates_of(ARMS[name], phantom.recipe) == whole
    assert updates_of(ARMS["real_long"], phantom.recipe) == 2 * whole


def test_one_stage_and_two_stages_spend_the_same_integral_of_the_learning_rate(phantom):
    r = phantom.recipe
    two = r.stage_1_updates + r.stage_2_updates * r.stage_2_learning_rate_ratio
    assert single_stage_ratio(r) * (r.stage_1_updates + r.stage_2_updates) == pytest.approx(two)


def test_controls_and_mixed_run_where_the_recipe_says(phantom):
    recipe = phantom.recipe.model_copy(update=dict(controls=["oracle", "poison"], control_archs=["residual"],
                                                   mixed_archs=["convolutional"]))
    assert {arm.name for arm in arms_of("pretrain", "residual", recipe)} == {"synthetic", "oracle", "poison"}
    assert {arm.name for arm in arms_of("pretrain", "transformer", recipe)} == {"synthetic"}
    assert [arm.name for arm in arms_of("joint", "convolutional", recipe)] == ["mixed"]
    assert not arms_of("joint", "residual", recipe)


def test_rivals_run_where_the_recipe_says_and_after_their_teachers(phantom):
    recipe = phantom.recipe.model_copy(update=dict(rivals=["distilled", "augmented"], rival_archs=["residual"]))
    names = [arm.name for arm in arms_of("baseline", "residual", recipe)]
    assert {"real_distilled", "real_augmented"} <= set(names) and "real_by_patient" not in names
    assert names.index(needed_by(ARMS["real_distilled"])) < names.index("real_distilled")
    assert not [arm for arm in arms_of("baseline", "convolutional", recipe) if arm.rival]


def test_every_fine_tuned_arm_has_a_first_stage():
    for arm in ARMS.values():
        if arm.stage == "finetune":
            assert ARMS[needed_by(arm)].stage == "pretrain" and ARMS[needed_by(arm)].stage_1 == arm.stage_1


def test_expected_cells(phantom):
    cells = expected_cells(phantom)
    seeds = phantom.replication.seeds
    assert sum(cell[0] == "real" for cell in cells) == seeds * len(phantom.used_archs())
    assert sum(cell[0] == "real_long" for cell in cells) == phantom.recipe.plateau_seeds * len(phantom.used_archs())
    assert sum(cell[0] == "oracle_then_real" for cell in cells) == seeds * len(phantom.recipe.control_archs)
    assert sum(cell[0] == "mixed" for cell in cells) == seeds * len(phantom.recipe.mixed_archs)
