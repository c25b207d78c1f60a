"""From an interval to a word: refusals first, then findings, each one named rule of two short tables.

The margin is the smallest gain that is worth the trouble, fixed before any run. The first rule that holds
gives the word. Every word stands for a claim about the test patients' population, so a claim that the data
cannot carry is refused with its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from synthplanes.statistics.clustered import Interval

MIN_REPETITIONS = 5          # below, the repetitions' part of the variance is too uncertain to build on
MIN_EFFECTIVE_PATIENTS = 20  # below, the patients' part of the variance is too uncertain to build on
MIN_PATIENTS_PER_CLASS = 3   # below, one patient decides a class, whose variance is hardly known


@dataclass(frozen=True)
class Evidence:
    """All that a verdict may depend on."""

    interval: Interval | None    # None where no pair of runs could be formed
    margin: float                # fraction: 0.02 is two points
    why_other_information: str = ""  # a reason, empty where both arms rest on the same images
    why_undertrained: str = ""   # a reason, empty where the plateau gate is met or does not apply
    why_unpaired: str = ""       # a reason, empty where every run has its partner


@dataclass(frozen=True)
class Judgement:
    word: str
    reason: str                  # why nothing is said; empty for a finding

    @property
    def refused(self) -> bool:
        return bool(self.reason)


def other_information(evidence: Evidence) -> str:
    return evidence.why_other_information


def undertrained(evidence: Evidence) -> str:
    return evidence.why_undertrained


def unpaired(evidence: Evidence) -> str:
    return evidence.why_unpaired


def too_few_repetitions(evidence: Evidence) -> str:
    n = evidence.interval.n_units
    return f"there are {n} repetitions, and a word needs {MIN_REPETITIONS}" if n < MIN_REPETITIONS else ""


def too_few_patients(evidence: Evidence) -> str:
    effective, scarcest = evidence.interval.n_effective_patients, evidence.interval.n_patients_scarcest
    if effective < MIN_EFFECTIVE_PATIENTS:
        return (f"the test patients weigh as much as {effective:.1f} equal ones, "
                f"and an interval needs {MIN_EFFECTIVE_PATIENTS}")
    if scarcest < MIN_PATIENTS_PER_CLASS:
        return f"a class has {scarcest} test patient(s), and an interval needs {MIN_PATIENTS_PER_CLASS}"
    return ""


def hurts(evidence: Evidence) -> bool:
    return evidence.interval.high < 0


def helps(evidence: Evidence) -> bool:
    return evidence.interval.low > 0 and evidence.interval.high > evidence.margin


def helps_negligibly(evidence: Evidence) -> bool:
    return evidence.interval.low > 0


def equivalent(evidence: Evidence) -> bool:
    low, high = evidence.interval.equivalence_low, evidence.interval.equivalence_high
    return -evidence.margin < low and high < evidence.margin


def no_worthwhile_gain(evidence: Evidence) -> bool:
    return evidence.interval.high < evidence.margin


REFUSALS = (
    ("other information",   other_information,   "one arm rests on images that the other never had"),
    ("undertrained",        undertrained,        "more updates of real training might give the same gain"),
    ("unpaired",            unpaired,            "the two arms were not drawn with the same seeds"),
    ("too few repetitions", too_few_repetitions, f"there are fewer than {MIN_REPETITIONS} generators or, with one "
                                                 "generator or one for each fold, classifier seeds"),
    ("too few patients",    too_few_patients,    f"the test patients weigh as much as fewer than {MIN_EFFECTIVE_PATIENTS} "
                                                 f"equal ones, or a class has fewer than {MIN_PATIENTS_PER_CLASS}"),
)
FINDINGS = (
    ("hurts",               hurts,               "upper limit < 0"),
    ("helps",               helps,               "lower limit > 0 and upper limit > margin"),
    ("helps, negligibly",   helps_negligibly,    "lower limit > 0"),
    ("equivalent",          equivalent,          "90 % interval within -margin to margin"),
    ("no worthwhile gain",  no_worthwhile_gain,  "upper limit < margin"),
)
OTHERWISE = "inconclusive"
DIFFERENCES = ("hurts", "helps", "helps, negligibly")  # words that claim one


def judge(evidence: Evidence, may_differ: bool = True) -> Judgement:
    """The word of the first rule that holds; with `may_differ` false no word claims a difference."""
    for word, rule, _ in REFUSALS:
        if reason := rule(evidence):
            return Judgement(word, reason)
    return Judgement(next((word for word, rule, _ in FINDINGS
                           if (may_differ or word not in DIFFERENCES) and rule(evidence)), OTHERWISE), "")


def described(found: Interval | None, why_no_number: str = "") -> dict:
    """What is said where no verdict is: `estimate`, `low`, `high`, or `why_no_number`, and never a p-value.

    Too few patients (by the constants of a verdict) take the whole number away; a value that no patient and no
    repetition changes keeps its estimate and loses its interval, whose width of 0 would claim certainty.
    """
    why = why_no_number or too_few_patients(Evidence(found, margin=0.0))
    if why:
        return dict(estimate=None, low=None, high=None, why_no_number=why)
    if not found.standard_error > 0:
        return dict(estimate=found.estimate, low=None, high=None,
                    why_no_number="within each class no patient and no repetition differs, so nothing tells how "
                                  "wide an interval would be")
    return dict(estimate=found.estimate, low=found.low, high=found.high, why_no_number="")


def on_simulated(word: str, simulated: bool) -> str:
    """The word, with the place where it holds if that is not the clinic."""
    if not simulated:
        return word
    return f"{word}{',' if ',' in word else ''} on simulated images"


def subject(n_generators: int, folds: int = 0) -> str:
    """Of what the verdict speaks: one generator's images say nothing about another generator's, nor do those of `folds`
    generators that were tested on different patients."""
    if folds:
        return f"this collection of {folds} synthetic sets"
    return "the method" if n_generators > 1 else "this synthetic set"


def points(fraction: float, sign: bool = False, decimals: int = 1) -> str:
    """A fraction in points of a percentage: 0.0123 -> '1.2'."""
    value = round(100 * fraction, decimals) + 0.0  # no minus before a zero
    return f"{value:+.{decimals}f}" if sign and value else f"{value:.{decimals}f}"


def sentence(judgement: Judgement, interval: Interval | None, margin: float, *, metric: str,
             references: Sequence[str], simulated: bool, n_generators: int, n_seeds: int, folds: int = 0) -> str:
    """The verdict as one English sentence; `references` are the arms against which the gain was taken."""
    place = " on simulated images" if simulated else ""
    who, each = subject(n_generators, folds), "one for each fold, " if folds else ""
    if judgement.refused:
        return f"No verdict on {who}{place} ({judgement.word}): {judgement.reason}."
    real = " and ".join(f"`{name}`" for name in references)
    against = f"the better of {real}" if len(references) > 1 else real
    opening = {
        "hurts":              f"{who} hurts{place}",
        "helps":              f"{who} helps{place}",
        "helps, negligibly":  f"{who} helps, but negligibly,{place}",
        "equivalent":         f"{who} is equivalent to more training on real images{place}",
        "no worthwhile gain": f"{who} brings no worthwhile gain{place}",
        "inconclusive":       f"whether {who} helps{place} remains open",
    }[judgement.word].rstrip(",")
    seen = " against either alone" if len(references) > 1 else ""
    p = "p < 0.001" if interval.p_value < 0.001 else f"p = {interval.p_value:.3f}"
    return (f"{opening[0].upper()}{opening[1:]}: {metric.replace('_', ' ')} changes by "
            f"{points(interval.estimate, sign=True)} points (95 % interval {points(interval.low, sign=True)} "
            f"to {points(interval.high, sign=True)}, {p}) against {against} at equal updates, where "
            f"{points(margin)} points would be worthwhile and {points(interval.smallest_visible_effect)} "
            f"points could be seen{seen} ({_count(n_generators, 'generator')}, {each}{_count(n_seeds, 'seed')} each, "
            f"{interval.n_patients} test patients).")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
