"""Judge the hypotheses of a profile together: does an arm beat all of its references?

The p-value of a hypothesis is the largest one-sided p over its references (intersection-union, Berger 1982). Holm's
procedure goes over the hypotheses at a one-sided level of 2.5 %; one that is refused counts with p = 1. A hypothesis
that is granted is tested once more against the margin, in fixed sequence, at the level that it was granted. All other
words use limits with an equal part of that level for each hypothesis (Bonferroni): *harm* against every reference,
*equivalent* and *no worthwhile gain* against the one that the hypothesis names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthplanes.protocol.contrasts import Hypothesis
from synthplanes.protocol.words import HYPOTHESES_LEVEL, OTHERWISE
from synthplanes.statistics.clustered import Interval, limits, p_above
from synthplanes.statistics.verdict import Evidence, Judgement, finding, on_simulated, points, refusal


@dataclass(frozen=True)
class Case:
    """A hypothesis with the evidence against each of its references, and against each of its `harm_also`."""

    hypothesis: Hypothesis
    evidence: Mapping[str, Evidence]

    @property
    def refused(self) -> Judgement | None:
        """Return the first refusal against a reference."""
        refusals = (refusal(self.evidence[name]) for name in self.hypothesis.references)
        return next((each for each in refusals if each), None)

    @property
    def undertrained(self) -> Evidence:
        """Return the evidence against the first reference that may not have converged; any where all have."""
        every = [self.evidence[name] for name in self.hypothesis.references]
        return next((each for each in every if each.why_undertrained), every[0])

    def p_value(self, bound: float = 0.0) -> float:
        """Return the one-sided p-value of a gain above `bound` over every reference; 1 where no gain may be said."""
        if self.refused or self.undertrained.why_undertrained:
            return 1.0
        return max(p_above(self.evidence[name].measured, bound) for name in self.hypothesis.references)


@dataclass(frozen=True)
class Decision:
    """What was decided on a hypothesis."""

    judgement: Judgement
    p_value: float         # one-sided
    p_value_holm: float    # one-sided, adjusted over the hypotheses


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjustment: with p_(0) <= p_(1) ..., max over j <= i of min(1, (m - j) p_(j))."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, (len(p) - np.arange(len(p))) * p[order]))
    return adjusted.tolist()


def decide(cases: Sequence[Case]) -> list[Decision]:
    """Judge the hypotheses of one profile, in their order."""
    p_values = [case.p_value() for case in cases]
    adjusted = holm(p_values)
    # Holm grants the smallest of m p-values the level 1/m of the whole, the next 1/(m - 1), and so on.
    rank = np.argsort(np.argsort(p_values, kind="stable"), kind="stable")
    return [Decision(_judgement(case, p_holm <= HYPOTHESES_LEVEL, HYPOTHESES_LEVEL / (len(cases) - int(place)),
                                HYPOTHESES_LEVEL / len(cases)), p, p_holm)
            for case, p, p_holm, place in zip(cases, p_values, adjusted, rank, strict=True)]


def _judgement(case: Case, granted: bool, level: float, equal_level: float) -> Judgement:
    """Return the word of one hypothesis; `level` is the one that Holm gives it, `equal_level` that of other words."""
    hypothesis, evidence = case.hypothesis, case.evidence
    if case.refused:
        return case.refused
    margin = evidence[hypothesis.bound_reference].margin
    low, high = limits(evidence[hypothesis.bound_reference].measured, equal_level)
    if granted:
        if case.p_value(margin) <= level:
            return Judgement("worthwhile gain", "")
        return Judgement("gain, below the margin" if high <= margin else "gain, size open", "")
    opponents = [evidence[name] for name in (*hypothesis.references, *hypothesis.harm_also)]
    if all(each.interval is not None and limits(each.interval, equal_level)[1] < 0 for each in opponents):
        return Judgement("harm", "")
    if -margin < low and high < margin:
        return finding("equivalent", case.undertrained)
    if high <= margin:
        return Judgement("no worthwhile gain", "")
    # A gain that the references' training does not allow to say is refused, and not called inconclusive.
    if all(limits(evidence[name].measured, equal_level)[0] > 0 for name in hypothesis.references):
        return finding("gain, size open", case.undertrained)
    return Judgement(OTHERWISE[0], "")


@dataclass(frozen=True)
class Design:
    """How a gain is measured, as the verdict's sentence states it."""

    metric: str
    margin: float
    simulated: bool
    n_generators: int
    n_seeds: int                 # per generator
    folds: int = 0
    whole_pool: bool = False     # all generators learned from the same patients

    @property
    def subject(self) -> str:
        """Return what the verdict speaks of.

        A result on one generator's images does not carry over to another generator, nor does that of generators that
        were tested on different patients, and one on a single training set does not carry over to another.
        """
        if self.folds:
            return f"this collection of {self.folds} synthetic sets"
        if self.n_generators == 1:
            return "this synthetic set"
        return "the method on this training set" if self.whole_pool else "the method"


def sentences(hypothesis: Hypothesis, judgement: Judgement, against: Mapping[str, Interval | None], design: Design
              ) -> str:
    """Return the verdict on a hypothesis in English, with every contrast's own numbers."""
    if judgement.refused:
        word = on_simulated(judgement.word, design.simulated)
        return f"No verdict on {hypothesis.title} ({word}): {judgement.reason}."
    place = " on simulated images" if design.simulated else ""
    said = {
        "worthwhile gain":        "brings a worthwhile gain",
        "gain, size open":        "brings a gain, whose size remains open,",
        "gain, below the margin": "brings a gain, which is below the margin,",
        "harm":                   "does harm",
        "equivalent":             "is equivalent to the same training with real images",
        "no worthwhile gain":     "brings no worthwhile gain",
        "inconclusive":           "has an effect that remains open",
    }[judgement.word]
    differences = [
        f"{points(each.estimate, sign=True)} points ({points(each.low, sign=True)} to {points(each.high, sign=True)}) "
        f"against `{name}`" for name, each in against.items() if each is not None]
    listed = ", ".join(differences[:-1]) + " and " + differences[-1] if len(differences) > 1 else differences[0]
    bound = against[hypothesis.bound_reference]
    assert bound is not None  # otherwise it is refused as unpaired
    return (f"{hypothesis.title[0].upper()}{hypothesis.title[1:]} {said}{place}: at equal updates, "
            f"{design.metric.replace('_', ' ')} changes by {listed} (95 % intervals). {points(design.margin)} points "
            f"would be worthwhile, and {points(bound.smallest_visible_effect)} points could be seen against "
            f"`{hypothesis.bound_reference}`. This holds for {design.subject} ("
            f"{_count(design.n_generators, 'generator')}, {'one for each fold, ' if design.folds else ''}"
            f"{_count(design.n_seeds, 'seed')} each, "
            f"{bound.n_patients} test patients).")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
