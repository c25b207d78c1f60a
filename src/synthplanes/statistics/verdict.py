"""Decide on the word of an interval: refusals first, then findings, each one rule of two short tables.

The margin is the smallest worthwhile gain, fixed before any run. The first rule that holds gives the word. Every word
is a claim about the population of the test patients, so a claim that the data cannot support is refused with a reason.
The words and what they mean are in protocol/words.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from synthplanes.protocol.words import (
    DIFFERENCES,
    FAVOURABLE,
    MIN_EFFECTIVE_PATIENTS,
    MIN_PATIENTS_PER_CLASS,
    MIN_REPETITIONS,
    OTHERWISE,
)
from synthplanes.statistics.clustered import Interval


@dataclass(frozen=True)
class Evidence:
    """All that the word of one contrast may depend on."""

    interval: Interval | None    # None where no pair of runs could be formed
    margin: float                # fraction: 0.02 is two points
    why_other_information: str = ""  # a reason, empty where both arms rest on the same images
    why_undertrained: str = ""   # a reason, empty where the convergence check is met or does not apply
    why_unpaired: str = ""       # a reason, empty where every run has its partner
    why_unconverged: str = ""    # a reason, empty where the generators have converged or no arm uses their images

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
        return (f"the test patients carry as much information as {effective:.1f} of equal weight, "
                f"and an interval needs {MIN_EFFECTIVE_PATIENTS}")
    if scarcest < MIN_PATIENTS_PER_CLASS:
        return f"a class has {scarcest} test patient(s), and an interval needs {MIN_PATIENTS_PER_CLASS}"
    return ""


# Word -> its rule; a refusal's returns the reason, '' where it does not apply. A finding's takes interval and margin.
REFUSALS: Mapping[str, Callable[[Evidence], str]] = {
    "other information":     lambda evidence: evidence.why_other_information,
    "unpaired":              lambda evidence: evidence.why_unpaired,
    "generator unconverged": lambda evidence: evidence.why_unconverged,
    "too few repetitions":   lambda evidence: _too_few_repetitions(evidence.measured),
    "too few patients":      lambda evidence: _too_few_patients(evidence.measured),
}
FINDINGS: Mapping[str, Callable[[Interval, float], bool]] = {
    "worthwhile gain":        lambda interval, margin: interval.low > margin,
    "gain, size open":        lambda interval, margin: interval.low > 0 and interval.high > margin,
    "gain, below the margin": lambda interval, margin: interval.low > 0,
    "harm":                   lambda interval, margin: interval.high < 0,
    "equivalent":             lambda interval, margin: -margin < interval.equivalence_low
                                                       and interval.equivalence_high < margin,
    "no worthwhile gain":     lambda interval, margin: interval.high <= margin,
}


def refusal(evidence: Evidence) -> Judgement | None:
    """Return the first refusal that applies, None where there is a finding; convergence is not among them."""
    for word, reason_of in REFUSALS.items():
        if reason := reason_of(evidence):
            return Judgement(word, reason)
    return None


def judge(evidence: Evidence, may_differ: bool = True) -> Judgement:
    """Return the word of the first rule that holds; with `may_differ` false no word claims a difference.

    A word in favour of the arm is refused as *undertrained* where its reference may not have converged: more training
    of the reference could only make the difference smaller.
    """
    if refused := refusal(evidence):
        return refused
    holding = (word for word, holds in FINDINGS.items() if holds(evidence.measured, evidence.margin))
    return finding(next((word for word in holding if may_differ or word not in DIFFERENCES), OTHERWISE[0]), evidence)


def finding(word: str, evidence: Evidence) -> Judgement:
    """Return the judgement of a finding, or *undertrained* where it may not be said."""
    if word in FAVOURABLE and evidence.why_undertrained:
        return Judgement("undertrained", evidence.why_undertrained)
    return Judgement(word, "")


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


def points(fraction: float, sign: bool = False, decimals: int = 1) -> str:
    """Return a fraction in percentage points: 0.0123 -> '1.2'."""
    value = round(100 * fraction, decimals) + 0.0  # avoids -0.0
    return f"{value:+.{decimals}f}" if sign and value else f"{value:.{decimals}f}"
