"""Hypotheses are judged together: intersection over references, Holm between them, the margin in fixed sequence."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from synthplanes.protocol.contrasts import HYPOTHESES, PAPER
from synthplanes.protocol.words import FAVOURABLE, FINDINGS, GAINS, OTHERWISE, REFUSALS
from synthplanes.statistics.clustered import Interval
from synthplanes.statistics.hypotheses import Case, Design, decide, holm, sentences
from synthplanes.statistics.verdict import Evidence, Judgement

MARGIN, JOINT = .02, HYPOTHESES[1]


def measured(estimate, error=.005, degrees=1e6):
    """Return an interval of a normal estimate with a generous design."""
    half, narrow = (stats.t.ppf(level, degrees) * error for level in (.975, .95))
    return Interval(estimate, estimate - half, estimate + half, estimate - narrow, estimate + narrow, error, degrees,
                    2 * stats.t.sf(abs(estimate) / error, degrees), 10, 90, 60, 12, 2.8 * error)


def case(hypothesis, *estimates, error=.005, **changes):
    """Return a hypothesis with an estimate for each reference and `harm_also`; the last one stands for the rest."""
    names = (*hypothesis.references, *hypothesis.harm_also)
    estimates = (*estimates, *(len(names) - len(estimates)) * estimates[-1:])
    return Case(hypothesis, {name: Evidence(measured(estimate, error), MARGIN, **changes)
                             for name, estimate in zip(names, estimates, strict=True)})


def word(*cases):
    return [decision.judgement.word for decision in decide(cases)]


@pytest.mark.parametrize("estimates, expected", [
    ((.05, .06), "worthwhile gain"), ((.02, .05), "gain, size open"), ((.05, .02), "gain, size open"),
    ((.05, -.05), "no worthwhile gain"), ((-.05, -.03), "harm"), ((-.05, .0), "equivalent"), ((.0, .0), "equivalent"),
    ((.05, -.03), "no worthwhile gain")])
def test_one_hypothesis_alone(estimates, expected):
    """The estimates are against `real` and against `real_two_stage`, which the hypothesis names for bounds."""
    assert word(case(PAPER, *estimates)) == [expected]


def test_a_small_gain_is_below_the_margin_when_it_is_measured_well():
    assert word(case(PAPER, .008, .008, error=.002)) == ["gain, below the margin"]
    assert word(case(PAPER, .03, .03, error=.02)) == [OTHERWISE[0]]


def test_the_p_value_is_the_largest_over_the_references():
    decision, = decide([case(PAPER, .03, .012)])
    assert decision.p_value == pytest.approx(stats.norm.sf(.012 / .005), rel=1e-4)


def test_harm_needs_every_reference():
    """`real_two_stage` alone being better is the schedule's doing, not that of the images."""
    assert word(case(PAPER, .0, -.05)) == ["no worthwhile gain"]
    assert word(case(PAPER, -.05, -.05)) == ["harm"]


def test_joint_training_harms_only_if_as_many_real_images_win_too():
    assert word(case(JOINT, -.05, -.05, -.05, -.05)) == ["harm"]
    assert word(case(JOINT, -.05, -.05, -.05, .0)) == ["no worthwhile gain"]


def test_holm_between_the_hypotheses_by_hand():
    """With two hypotheses the smaller p needs 1.25 %, and then the other 2.5 %."""
    error = .005
    for one_sided, other, expected in ((.012, .024, (True, True)), (.013, .024, (False, False)),
                                       (.012, .026, (True, False))):
        estimates = [stats.norm.isf(p) * error for p in (one_sided, other)]
        said = word(case(PAPER, estimates[0]), case(JOINT, estimates[1]))
        assert tuple(each in GAINS for each in said) == expected
    alone = stats.norm.isf(.024) * error
    assert word(case(PAPER, alone))[0] in GAINS


def test_worthwhile_is_tested_at_the_level_that_was_granted():
    """The second in Holm's order has the whole level, also against the margin."""
    above = MARGIN + stats.norm.isf(.02) * .005                # a p-value of 2 % against the margin
    assert word(case(PAPER, above)) == ["worthwhile gain"]
    assert word(case(PAPER, above), case(JOINT, .2)) == ["worthwhile gain", "worthwhile gain"]
    assert word(case(PAPER, above), case(JOINT, -.2))[0] == "gain, size open"     # first in order: 1.25 %


@pytest.mark.parametrize("refused", [dict(why_unpaired="a seed is missing"), dict(why_other_information="a start")])
def test_a_refused_hypothesis_counts_as_one(refused):
    p_of_two_percent = stats.norm.isf(.02) * .005
    first = case(JOINT, .2, **refused)
    decisions = decide([case(PAPER, p_of_two_percent), first])
    assert decisions[1].p_value == decisions[1].p_value_holm == 1 and decisions[1].judgement.refused
    assert decisions[0].judgement.word not in GAINS            # it has 1.25 %, not 2.5 %


def test_an_undertrained_reference_blocks_favourable_words_only():
    why = dict(why_undertrained="it still gains")
    assert [word(case(PAPER, estimate, **why))[0] for estimate in (.05, .0, -.05)] == [
        "undertrained", "undertrained", "harm"]
    assert word(case(PAPER, -.03, .05, **why)) == [OTHERWISE[0]]
    one = case(PAPER, .05)
    one.evidence["real_two_stage"] = dataclasses.replace(one.evidence["real_two_stage"], **why)
    assert word(one) == ["undertrained"] and decide([one])[0].p_value == 1


def test_holm_by_hand():
    assert holm([.01, .04, .03, .005]) == pytest.approx([.03, .06, .06, .02])
    assert holm([.9, .8]) == pytest.approx([1, 1])
    assert holm([]) == []


def test_false_gains_of_both_hypotheses_together_stay_below_the_level():
    """Normal estimates without an effect; the other references are far below, so one contrast decides each."""
    rng, errors = np.random.default_rng(0), 0
    for first, second in rng.normal(0, .005, (4000, 2)):
        said = word(case(PAPER, first, .2), case(JOINT, second, .2))
        errors += any(each in GAINS for each in said)
    assert stats.binomtest(errors, 4000).proportion_ci(.95, method="wilson").low <= .025


DESIGN = Design("balanced_accuracy", MARGIN, True, 1, 6)


def test_the_sentences():
    first = case(PAPER, .03, .04)
    against = {name: each.interval for name, each in first.evidence.items()}
    assert sentences(PAPER, Judgement("worthwhile gain", ""), against, DESIGN) == (
        "Pretraining on synthetic images brings a worthwhile gain on simulated images: at equal updates, balanced "
        "accuracy changes by +3.0 points (+2.0 to +4.0) against `real` and +4.0 points (+3.0 to +5.0) against "
        "`real_two_stage` (95 % intervals). 2.0 points would be worthwhile, and 1.4 points could be seen "
        "against `real_two_stage`. This holds for this synthetic set (1 generator, 6 seeds each, 90 test patients).")
    assert sentences(JOINT, Judgement("undertrained", "it still gains"), {}, dataclasses.replace(
        DESIGN, simulated=False)) == "No verdict on joint training (undertrained): it still gains."


def test_every_finding_has_a_sentence():
    against = {name: measured(.01) for name in PAPER.references}
    texts = {sentences(PAPER, Judgement(word, ""), against, DESIGN).split(":")[0] for word in (*FINDINGS, OTHERWISE[0])}
    assert len(texts) == len(FINDINGS) + 1
    assert set(FAVOURABLE) <= set(FINDINGS) and not set(FINDINGS) & set(REFUSALS)


@pytest.mark.parametrize("changes, subject", [
    (dict(), "this synthetic set"), (dict(n_generators=6), "the method"),
    (dict(n_generators=6, whole_pool=True), "the method on this training set"),
    (dict(n_generators=5, folds=5), "this collection of 5 synthetic sets")])
def test_the_subject_follows_the_design(changes, subject):
    assert dataclasses.replace(DESIGN, **changes).subject == subject
