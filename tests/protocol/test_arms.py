"""The table of arms: equal updates, equal learning-rate integrals, and which runs a profile asks for."""

from dataclasses import replace

import pytest

from synthplanes.protocol.arms import ARMS, TRAINING_STAGES, arms_of, needed_by, single_stage_ratio, updates_of
from synthplanes.protocol.contrasts import CEILINGS, CONTRASTS, CONTROLS, HYPOTHESES, LONGER, ROLES
from synthplanes.protocol.profiles import read_profile


@pytest.fixture
def phantom(repository):
    return read_profile("phantom", repository / "params.yaml")


def with_arms(profile, **optional):
    return profile.recipe.model_copy(update={"optional_arms": optional})


def test_all_full_arms_spend_the_same_updates(phantom):
    whole = phantom.recipe.stage_1_updates + phantom.recipe.stage_2_updates
    for name in ("real", "real_augmented", "real_by_patient", "real_distilled", "real_two_stage", "synthetic_then_real",
                 "joint", "duplicate_joint", "oracle_joint", "oracle_then_real", "resampled_then_real",
                 "permuted_labels_then_real"):
        assert updates_of(ARMS[name], phantom.recipe) == whole
    for reference, longer in LONGER.items():
        assert updates_of(ARMS[longer], phantom.recipe) == 2 * updates_of(ARMS[reference], phantom.recipe)


def test_one_stage_and_two_stages_spend_the_same_integral_of_the_learning_rate(phantom):
    r = phantom.recipe
    two = r.stage_1_updates + r.stage_2_updates * r.stage_2_learning_rate_ratio
    assert single_stage_ratio(r) * (r.stage_1_updates + r.stage_2_updates) == pytest.approx(two)


def test_optional_arms_run_where_the_recipe_says(phantom):
    recipe = with_arms(phantom, oracle=["residual"], permuted_labels=["residual"], joint=["convolutional"])
    assert {arm.name for arm in arms_of("pretrain", "residual", recipe)} == {"synthetic", "oracle", "permuted_labels"}
    assert {arm.name for arm in arms_of("pretrain", "transformer", recipe)} == {"synthetic"}
    assert [arm.name for arm in arms_of("joint", "convolutional", recipe)] == ["joint"]
    assert not arms_of("joint", "residual", recipe)


def test_real_data_baselines_stand_after_their_teachers(phantom):
    recipe = with_arms(phantom, distilled=["residual"], augmented=["residual"])
    names = [arm.name for arm in arms_of("baseline", "residual", recipe)]
    assert {"real_distilled", "real_augmented"} <= set(names) and "real_by_patient" not in names
    assert names.index(needed_by(ARMS["real_distilled"])) < names.index("real_distilled")
    assert not [arm for arm in arms_of("baseline", "convolutional", recipe) if arm.kind == "baseline"]


def test_every_fine_tuned_arm_has_a_first_stage():
    for arm in ARMS.values():
        assert arm.stage in TRAINING_STAGES
        if arm.stage == "finetune":
            assert ARMS[needed_by(arm)].stage == "pretrain" and ARMS[needed_by(arm)].stage_1 == arm.stage_1


def test_the_runs_of_a_profile(phantom):
    runs, seeds, n_archs = phantom.runs(), phantom.replication.seeds, len(phantom.archs)
    assert sum(arm == "real" for arm, *_ in runs) == seeds * n_archs
    assert sum(arm == "real_long" for arm, *_ in runs) == seeds * n_archs
    for arm, option in (("oracle_then_real", "oracle"), ("joint", "joint"), ("duplicate_joint_long", "joint"),
                        ("real_equal_exposure", "joint"), ("oracle_joint", "oracle_joint")):
        assert sum(name == arm for name, *_ in runs) == seeds * len(phantom.recipe.optional_arms[option])


def test_contrasts_name_arms_and_each_role_is_known():
    assert len({contrast.name for contrast in CONTRASTS}) == len(CONTRASTS)
    for contrast in CONTRASTS:
        assert contrast.arm in ARMS and contrast.reference in ARMS and contrast.role in ROLES
    assert {(c.arm, c.reference) for c in CONTRASTS if c.role == "confirmatory"} == {
        (each.arm, reference) for each in HYPOTHESES for reference in each.references}
    assert set(CONTROLS) | set(CEILINGS) | set(CEILINGS.values()) <= set(ARMS)


def test_a_hypothesis_has_its_contrasts_and_convergence_checks():
    """Every reference has a longer arm; a contrast is in the table for each of them and for what *harm* needs."""
    pairs = {(contrast.arm, contrast.reference) for contrast in CONTRASTS}
    for each in HYPOTHESES:
        assert {(each.arm, other) for other in (*each.references, *each.harm_also)} <= pairs
        assert each.bound_reference in each.references and set(each.references) <= set(LONGER)
    for reference, longer in LONGER.items():
        twice = replace(ARMS[reference], name=longer, updates="2(P+T)", question=ARMS[longer].question)
        assert ARMS[longer] == twice


def test_an_arm_is_one_row(phantom, monkeypatch):
    """A new row in ARMS and its option in a recipe are all that a profile needs to ask for another arm."""
    from synthplanes.protocol import arms
    monkeypatch.setitem(arms.ARMS, "real_twice", replace(arms.ARMS["real"], name="real_twice", option="twice"))
    recipe = with_arms(phantom, twice=["residual"])
    runs = phantom.model_copy(update={"recipe": recipe}).runs()
    assert sum(arm == "real_twice" for arm, *_ in runs) == phantom.replication.seeds
