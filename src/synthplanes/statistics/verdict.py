"""Decide on the word of an interval: refusals first, then findings, each one rule of two short tables.

The margin is the smallest worthwhile gain, fixed before any run. The first rule that holds gives the word. Every word
is a claim about the population of the test patients, so a claim that the data cannot support is refused with a reason.
The words and what they mean are in protocol/words.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthplanes.protocol.words import (
    DIFFERENCES,
    MIN_EFFECTIVE_PATIENTS,
    MIN_PATIENTS_PER_CLASS,
    MIN_REPETITIONS,
    OTHERWISE,
)
from synthplanes.statistics.clustered import Interval


@dataclass(frozen=True)
class Evidence:
    """All that a verdict may depend on."""

    interval: Interval | None    # None where no pair of runs could be formed
    margin: float                # fraction: 0.02 is two points
    why_other_information: str = ""  # a reason, empty where both arms rest on the same images
    why_undertrained: str = ""   # a reason, empty where the convergence check is met or does not apply
    why_unpaired: str = ""       # a reason, empty where every run has its partner

    @property
    def measured(self) -> Interval:
        """Return the interval, which only an unpaired contrast lacks."""
        if self.interval is None:
            raise ValueError("evidence without an interval needs a reason why it is unpaired")
        return self.interval


@dataclass(frozen=True)
class Judgement:
    """The word of a verdict."""

    word: str
    reason: str                  # why there is no finding; empty for a finding

    @property
    def refused(self) -> bool:
        """Return whether the word is a refusal."""
        return bool(self.reason)


def _too_few_repetitions(interval: Interval) -> str:
    n = interval.n_units
    return f"there are {n} repetitions, and a word needs {MIN_REPETITIONS}" if n < MIN_REPETITIONS else ""


def _too_few_patients(interval: Interval) -> str:
    effective, scarcest = interval.n_effective_patients, interval.n_patients_scarcest
    if effective < MIN_EFFECTIVE_PATIENTS:
        return (f"the test patients weigh as much as {effective:.1f} equal ones, "
                f"and an interval needs {MIN_EFFECTIVE_PATIENTS}")
    if scarcest < MIN_PATIENTS_PER_CLASS:
        return f"a class has {scarcest} test patient(s), and an interval needs {MIN_PATIENTS_PER_CLASS}"
    return ""


# Word -> its rule; a refusal's returns the reason, '' where it does not apply. A finding's takes interval and margin.
REFUSALS: Mapping[str, Callable[[Evidence], str]] = {
    "other information":   lambda evidence: evidence.why_other_information,
    "undertrained":        lambda evidence: evidence.why_undertrained,
    "unpaired":            lambda evidence: evidence.why_unpaired,
    "too few repetitions": lambda evidence: _too_few_repetitions(evidence.measured),
    "too few patients":    lambda evidence: _too_few_patients(evidence.measured),
}
FINDINGS: Mapping[str, Callable[[Interval, float], bool]] = {
    "hurts":              lambda interval, margin: interval.high < 0,
    "helps":              lambda interval, margin: interval.low > 0 and interval.high > margin,
    "helps, negligibly":  lambda interval, margin: interval.low > 0,
    "equivalent":         lambda interval, margin: -margin < interval.equivalence_low
                                                   and interval.equivalence_high < margin,
    "no worthwhile gain": lambda interval, margin: interval.high < margin,
}


def judge(evidence: Evidence, may_differ: bool = True) -> Judgement:
    """Return the word of the first rule that holds; with `may_differ` false no word claims a difference."""
    for word, reason_of in REFUSALS.items():
        if reason := reason_of(evidence):
            return Judgement(word, reason)
    holding = (word for word, holds in FINDINGS.items() if holds(evidence.measured, evidence.margin))
    return Judgement(next((word for word in holding if may_differ or word not in DIFFERENCES), OTHERWISE[0]), "")


def described(interval: Interval | None, why_no_number: str = "") -> dict[str, Any]:
    """Return `estimate`, `low`, `high` and `why_no_number`: the result of what has no verdict, without a p-value.

    With too few patients (by the constants of a verdict) there is no number at all. A value that is the same for all
    patients and repetitions has an estimate but no interval, whose width of 0 would claim certainty.
    """
    if interval is not None:
        why_no_number = why_no_number or _too_few_patients(interval)
    if interval is None or why_no_number:
        return dict(estimate=None, low=None, high=None, why_no_number=why_no_number)
    if not interval.standard_error > 0:
        return dict(estimate=interval.estimate, low=None, high=None,
                    why_no_number="within each class no patient and no repetition differs, so nothing tells how "
                                  "wide an interval would be")
    return dict(estimate=interval.estimate, low=interval.low, high=interval.high, why_no_number="")


def on_simulated(word: str, simulated: bool) -> str:
    """Return the word, with the addition "on simulated images" where the images come from a simulator."""
    if not simulated:
        return word
    return f"{word}{',' if ',' in word else ''} on simulated images"


def subject(n_generators: int, folds: int = 0) -> str:
    """Return the subject of the verdict's sentence.

    A result on one generator's images does not carry over to another generator, nor does that of `folds` generators
    tested on different patients.
    """
    if folds:
        return f"this collection of {folds} synthetic sets"
    return "the method" if n_generators > 1 else "this synthetic set"


def points(fraction: float, sign: bool = False, decimals: int = 1) -> str:
    """Return a fraction in percentage points: 0.0123 -> '1.2'."""
    value = round(100 * fraction, decimals) + 0.0  # avoids -0.0
    return f"{value:+.{decimals}f}" if sign and value else f"{value:.{decimals}f}"


@dataclass(frozen=True)
class Design:
    """How a gain is measured, as the verdict's sentence states it."""

    metric: str
    references: Sequence[str]    # the arms against which the gain is taken
    margin: float
    simulated: bool
    n_generators: int
    n_seeds: int                 # per generator
    folds: int = 0


def sentence(judgement: Judgement, interval: Interval | None, design: Design) -> str:
    """Return the verdict as one English sentence."""
    place = " on simulated images" if design.simulated else ""
    who = subject(design.n_generators, design.folds)
    if judgement.refused or interval is None:
        return f"No verdict on {who}{place} ({judgement.word}): {judgement.reason}."
    real = " and ".join(f"`{name}`" for name in design.references)
    against, seen = (f"the better of {real}", " against either alone") if len(design.references) > 1 else (real, "")
    opening = {
        "hurts":              f"{who} hurts{place}",
        "helps":              f"{who} helps{place}",
        "helps, negligibly":  f"{who} helps, but negligibly,{place}",
        "equivalent":         f"{who} is equivalent to more training on real images{place}",
        "no worthwhile gain": f"{who} brings no worthwhile gain{place}",
        "inconclusive":       f"whether {who} helps{place} remains open",
    }[judgement.word].rstrip(",")
    p = "p < 0.001" if interval.p_value < 0.001 else f"p = {interval.p_value:.3f}"
    return (f"{opening[0].upper()}{opening[1:]}: {design.metric.replace('_', ' ')} changes by "
            f"{points(interval.estimate, sign=True)} points (95 % interval {points(interval.low, sign=True)} "
            f"to {points(interval.high, sign=True)}, {p}) against {against} at equal updates, where "
            f"{points(design.margin)} points would be worthwhile and {points(interval.smallest_visible_effect)} "
            f"points could be seen{seen} ({_count(design.n_generators, 'generator')}, "
            f"{'one for each fold, ' if design.folds else ''}{_count(design.n_seeds, 'seed')} each, "
            f"{interval.n_patients} test patients).")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
