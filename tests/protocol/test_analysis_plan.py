"""The plan says what decides, and changes whenever something that decides does."""

import pytest

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.protocol.analysis_plan import analysis_plan, settings_of
from synthplanes.protocol.contrasts import HYPOTHESES, PAPER
from synthplanes.protocol.profiles import read_names, read_profile
from tests.small_profile import small_profile, small_profile_parameters

ARCHS = ("residual", "transformer")


def changed(**changes):
    """Return the small profile with other values, by `section__parameter`."""
    parameters = small_profile_parameters(ARCHS)
    for name, value in changes.items():
        section, _, parameter = name.partition("__")
        parameters[section] = {**parameters[section], parameter: value} if parameter else value
    return type(small_profile()).model_validate(parameters)


def test_the_plan_names_hypotheses_margin_words_and_runs():
    profile = small_profile(ARCHS)
    plan = analysis_plan(profile)
    paper, joint = plan["hypotheses"]
    assert (paper["arm"], joint["arm"]) == ("synthetic_then_real", "joint")
    assert list(paper["references"]) == ["real", "real_two_stage"]
    assert list(joint["references"]) == ["real", "real_two_stage", "duplicate_joint"]
    assert list(joint["harm_also"]) == ["real_equal_exposure"] and not paper["harm_also"]
    assert (paper["bound_reference"], joint["bound_reference"]) == ("real_two_stage", "duplicate_joint")
    assert plan["procedure"]["architectures"] == sorted(ARCHS) and plan["procedure"]["budget"] == "scarce"
    assert plan["procedure"]["level"] == 0.025
    assert plan["margin"] == 0.02 and plan["convergence_check"]["largest_upper_limit"] == 0.02
    assert plan["convergence_check"]["longer"] == {name: f"{name}_long" for name in joint["references"]}
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
    def unit(profile):
        return analysis_plan(profile)["procedure"]["unit_of_repetition"]

    assert unit(changed()) == "classifier seed"
    assert unit(changed(replication__generators=2)) == "generator"
    crossed = changed(replication__generators=2, prepare__cross_validation="patients")
    assert unit(crossed) == "classifier seed"
    assert analysis_plan(crossed)["folds"] == settings_of(crossed).folds == 2


def test_generators_share_a_pool_unless_each_has_patients_of_its_own():
    """The share is that of the budget; one generator, or a fold for each, has no other to share with."""
    several = changed(replication__generators=2)
    assert settings_of(several).shared == analysis_plan(several)["procedure"]["share_of_one_pool"] == {"scarce": 0.3}
    replication = {**several.replication.model_dump(), "disjoint_patients": True}
    for alone in (changed(), changed(replication=replication),
                  changed(replication__generators=2, prepare__cross_validation="patients")):
        assert settings_of(alone).shared == analysis_plan(alone)["procedure"]["share_of_one_pool"] == {}


def asked(profile):
    return [each.name for each in settings_of(profile).hypotheses]


def test_hypotheses_follow_from_the_arms():
    """That on joint training is asked where an architecture runs all of its arms, the paper's everywhere."""
    parameters = small_profile_parameters(ARCHS)
    for roles, names in ((list(ARCHS), ["paper_order", "joint"]), (["transformer"], ["paper_order", "joint"]),
                         ([], ["paper_order"])):
        parameters["recipe"]["optional_arms"] = {"joint": roles} if roles else {}
        profile = type(small_profile()).model_validate(parameters)
        assert asked(profile) == [each["name"] for each in analysis_plan(profile)["hypotheses"]] == names


def test_every_committed_profile_asks_what_its_arms_allow(repository):
    path = repository / "params.yaml"
    for name in read_names(path):
        profile = read_profile(name, path)
        ran = {arm for arm, *_ in profile.runs()}
        assert {PAPER.arm, *PAPER.references} <= ran, name
        assert asked(profile) == [each.name for each in HYPOTHESES if each.arm in ran], name


def test_only_arms_on_synthetic_images_rest_on_a_pretrained_generator():
    assert not settings_of(changed()).pretrained
    pretrained = settings_of(changed(train_diffusion__pretrained=16 * "a")).pretrained
    assert {"synthetic", "synthetic_then_real", "joint"} <= pretrained
    assert not {"real", "real_two_stage", "duplicate_joint", "oracle_then_real", "oracle_joint",
                "resampled_then_real"} & pretrained
