"""Every word has its rule and its order."""

import dataclasses

import numpy as np
import pytest

from synthplanes.protocol import words
from synthplanes.protocol.words import DIFFERENCES, OTHERWISE
from synthplanes.statistics.clustered import Interval
from synthplanes.statistics.verdict import FINDINGS, REFUSALS, Evidence, described, judge, on_simulated, points

MARGIN = .02


def an_interval(low, high, **changes):
    """Return a symmetric interval with a generous design."""
    middle, half = (low + high) / 2, (high - low) / 2
    base = Interval(estimate=middle, low=low, high=high, equivalence_low=middle - .83 * half,
                    equivalence_high=middle + .83 * half, standard_error=half / 2, degrees_of_freedom=30,
                    p_value=.01, n_units=6, n_patients=90, n_effective_patients=60, n_patients_scarcest=12,
                    smallest_visible_effect=1.4 * half)
    return dataclasses.replace(base, **changes)


def test_the_rules_are_those_of_the_protocols_words():
    """Each word that the analysis plan explains has a rule, in the same order."""
    assert [*REFUSALS, "undertrained"] == list(words.REFUSALS) and list(FINDINGS) == list(words.FINDINGS)
    assert set(DIFFERENCES) < set(FINDINGS) and OTHERWISE[0] not in {**REFUSALS, **FINDINGS}


@pytest.mark.parametrize("low, high, word", [
    (.021, .05, "worthwhile gain"),
    (.02, .05, "gain, size open"),         # a lower limit equal to the margin is not above it
    (.01, .05, "gain, size open"),
    (.001, .015, "gain, below the margin"),
    (.001, .02, "gain, below the margin"),
    (-.05, -.01, "harm"),
    (-.015, -.001, "harm"),                # also within the margin: a certain loss is called a loss
    (-.01, .01, "equivalent"),
    (0., .019, "equivalent"),              # a lower limit of 0 is not above 0
    (-.06, .01, "no worthwhile gain"),
    (-.06, .02, "no worthwhile gain"),
    (-.06, .06, "inconclusive"),
    (-.01, .05, "inconclusive"),
])
def test_the_words_of_the_findings(low, high, word):
    judgement = judge(Evidence(an_interval(low, high), MARGIN))
    assert judgement.word == word and not judgement.refused


def test_a_noisier_estimate_never_gives_a_stronger_word():
    """One estimate, ever wider: a worthwhile gain, a gain of open size, then no gain."""
    order = ["worthwhile gain", "gain, size open", "inconclusive"]
    words_said = [judge(Evidence(an_interval(.03 - half, .03 + half), MARGIN)).word
                  for half in np.linspace(.001, .06, 60)]
    assert list(dict.fromkeys(words_said)) == order


def test_equivalence_is_judged_by_the_90_percent_interval():
    wide = an_interval(-.021, .005)
    assert wide.low < -MARGIN < wide.equivalence_low
    assert judge(Evidence(wide, MARGIN)).word == "equivalent"


REFUSED = {
    "other information": dict(why_other_information="a warm start"),
    "unpaired":         dict(why_unpaired="a seed is missing"),
    "generator unconverged": dict(why_unconverged="still falling"),
    "too few repetitions": dict(interval=an_interval(.03, .05, n_units=4)),
    "too few patients": dict(interval=an_interval(.03, .05, n_effective_patients=19.9)),
    "undertrained":     dict(why_undertrained="it still gains"),
}


@pytest.mark.parametrize("word", REFUSED)
def test_refusals_precede_a_finding_in_favour(word):
    judgement = judge(dataclasses.replace(Evidence(an_interval(.03, .05), MARGIN), **REFUSED[word]))
    assert judgement.word == word and judgement.refused


@pytest.mark.parametrize("low, high, word", [
    (.03, .05, "undertrained"), (.01, .05, "undertrained"), (.001, .015, "undertrained"), (-.01, .01, "undertrained"),
    (-.05, -.01, "harm"), (-.06, .01, "no worthwhile gain"), (-.06, .06, "inconclusive")])
def test_an_undertrained_reference_silences_words_in_favour_only(low, high, word):
    """More training of the reference could only lower the difference, so words against the arm stand."""
    assert judge(Evidence(an_interval(low, high), MARGIN, why_undertrained="it still gains")).word == word


def test_refusals_have_an_order_and_need_no_interval():
    assert judge(Evidence(None, MARGIN, "", "it still gains", "a seed is missing")).word == "unpaired"
    assert judge(Evidence(None, MARGIN, "another source", "", "a seed is missing")).word == "other information"


@pytest.mark.parametrize("low, high, word", [
    (-.05, -.021, "no worthwhile gain"), (-.012, -.001, "equivalent"), (.001, .012, "equivalent"),
    (.01, .05, OTHERWISE[0])])
def test_without_a_difference_the_next_word_that_holds_is_said(low, high, word):
    """Evidence of harm that Holm takes away still bounds the gain from above."""
    evidence = Evidence(an_interval(low, high), MARGIN)
    assert judge(evidence).word in DIFFERENCES and judge(evidence, may_differ=False).word == word


def test_five_repetitions_are_enough_and_four_are_counted():
    assert "4 repetitions" in judge(Evidence(an_interval(.03, .05, n_units=4), MARGIN)).reason
    assert not judge(Evidence(an_interval(.03, .05, n_units=5), MARGIN)).refused


def test_too_few_patients_names_the_constant():
    few = judge(Evidence(an_interval(.03, .05, n_effective_patients=12.34), MARGIN))
    assert "12.3" in few.reason and "20" in few.reason
    scarce = judge(Evidence(an_interval(.03, .05, n_patients_scarcest=2), MARGIN))
    assert scarce.word == "too few patients" and "2 test patient(s)" in scarce.reason
    enough = an_interval(.03, .05, n_effective_patients=20, n_patients_scarcest=10)
    assert not judge(Evidence(enough, MARGIN)).refused


def test_a_description_has_numbers_or_words():
    assert described(an_interval(.01, .05)) == dict(estimate=pytest.approx(.03), low=.01, high=.05, why_no_number="")
    few = described(an_interval(.01, .05, n_effective_patients=19.9))
    assert few["estimate"] is few["low"] is few["high"] is None
    assert few["why_no_number"] == judge(Evidence(an_interval(.01, .05, n_effective_patients=19.9), MARGIN)).reason
    assert described(None, "a class is missing")["why_no_number"] == "a class is missing"
    sure = described(an_interval(1., 1., standard_error=0.))
    assert (sure["estimate"], sure["low"], sure["high"]) == (1., None, None) and sure["why_no_number"]


def test_simulated_images_are_always_named():
    assert on_simulated("harm", True) == "harm on simulated images"
    assert on_simulated("gain, size open", True) == "gain, size open, on simulated images"
    assert on_simulated("harm", False) == "harm"


@pytest.mark.parametrize("fraction, sign, text", [
    (.0123, False, "1.2"), (.0123, True, "+1.2"), (-.05, True, "-5.0"), (-.0001, True, "0.0"),
    (0, True, "0.0")])
def test_points(fraction, sign, text):
    assert points(fraction, sign) == text
