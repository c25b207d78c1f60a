"""The plan says what decides, and changes whenever something that decides does."""

import pytest

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.protocol.analysis_plan import analysis_plan, settings_of
from tests.small_profile import small_profile, small_profile_parameters

ARCHS = ("residual", "transformer")


def changed(**changes):
    """Return the small profile with other values, by `section__parameter`."""
    parameters = small_profile_parameters(ARCHS)
    for name, value in changes.items():
        section, _, parameter = name.partition("__")
        parameters[section] = {**parameters[section], parameter: value} if parameter else value
    return type(small_profile()).model_validate(parameters)


def test_the_plan_names_hypothesis_margin_words_and_runs():
    profile = small_profile(ARCHS)
    plan = analysis_plan(profile)
    assert plan["hypothesis"]["arm"] == "synthetic_then_real"
    assert plan["hypothesis"]["references"] == ["real", "real_two_stage"]
    assert plan["hypothesis"]["architectures"] == sorted(ARCHS) and plan["hypothesis"]["budget"] == "scarce"
    assert plan["margin"] == 0.02 and plan["convergence_check"]["allowed_gain"] == 0.01
    assert [row["word"] for row in plan["words"]] == [*words.REFUSALS, *words.FINDINGS, words.OTHERWISE[0]]
    assert {"arm": "real", "arch": "transformer", "budget": "scarce", "number": 6} in plan["runs"]
    assert sum(row["number"] for row in plan["runs"]) == len(profile.runs())
    assert plan["protocol"] == profile.model_dump(mode="json", exclude={"compute"})


@pytest.mark.parametrize("changes", [dict(evaluate__margin=0.01), dict(replication__root_seed=2),
                                     dict(budgets={"full": 0.3}), dict(replication__seeds=7),
                                     dict(recipe__stage_1_updates=41)])
def test_another_protocol_has_another_plan(changes):
    assert records.sha256(analysis_plan(changed())) != records.sha256(analysis_plan(changed(**changes)))


def test_threads_and_processes_are_no_part_of_the_plan():
    assert analysis_plan(changed(compute__processes=7)) == analysis_plan(changed())


def test_with_several_generators_they_are_the_unit():
    assert analysis_plan(changed())["hypothesis"]["unit_of_repetition"] == "classifier seed"
    assert analysis_plan(changed(replication__generators=2))["hypothesis"]["unit_of_repetition"] == "generator"
    crossed = changed(replication__generators=2, prepare__cross_validation="patients")
    assert analysis_plan(crossed)["hypothesis"]["unit_of_repetition"] == "classifier seed"
    assert analysis_plan(crossed)["folds"] == settings_of(crossed).folds == 2


def test_only_arms_on_synthetic_images_rest_on_a_pretrained_generator():
    assert not settings_of(changed()).pretrained
    pretrained = settings_of(changed(train_diffusion__pretrained=16 * "a")).pretrained
    assert {"synthetic", "synthetic_then_real", "joint"} <= pretrained
    assert not {"real", "real_two_stage", "oracle_then_real", "resampled_then_real"} & pretrained
