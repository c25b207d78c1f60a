"""Define the analysis plan: the question and the rules that answer it, written before any test image is predicted.

It depends on the profile and the rules alone. The log of test access (statistics/profile_evaluation.py) records under
which plan test rows are scored.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from synthplanes.protocol import contrasts, words
from synthplanes.protocol.arms import ARMS, uses_synthetic
from synthplanes.protocol.contrasts import HYPOTHESES, PAPER, Hypothesis
from synthplanes.protocol.profiles import Profile, Run


@dataclass(frozen=True)
class Settings:
    """The settings, fixed before any run, on which a verdict depends."""

    source: str
    simulated: bool             # the images come from a simulator: every verdict says so
    margin: float               # the smallest worthwhile gain, a fraction: 0.02 is two points
    scarce_budget: str          # where the hypotheses are tested
    hypotheses: tuple[Hypothesis, ...]  # those whose arms the profile runs
    expected: frozenset[Run]    # every run that the protocol asks for, over all budgets
    root_seed: int              # of the bootstrap's draws
    shared: Mapping[str, float] = field(default_factory=dict)  # budget -> share of one pool that each generator drew
    folds: int = 0              # of a cross-validation, each with a generator of its own; 0: none
    pretrained: frozenset[str] = frozenset()  # arms whose generator was pretrained on other images


def settings_of(profile: Profile) -> Settings:
    """Return a profile's settings; the hypotheses are tested at the scarcest budget."""
    one_pool = profile.replication.generators > 1 and not (profile.folds or profile.replication.disjoint_patients)
    return Settings(
        source=profile.prepare.source, simulated=profile.simulate is not None, margin=profile.evaluate.margin,
        scarce_budget=profile.scarce_budget, hypotheses=hypotheses_of(profile), expected=profile.runs(),
        root_seed=profile.replication.root_seed, shared=dict(profile.budgets) if one_pool else {}, folds=profile.folds,
        pretrained=frozenset(filter(uses_synthetic, ARMS)) if profile.train_diffusion.pretrained else frozenset())


def hypotheses_of(profile: Profile) -> tuple[Hypothesis, ...]:
    """Return the paper's hypothesis, and every other one whose arms run together on an architecture."""
    ran = {arch: {arm for arm, its_arch, *_ in profile.runs() if its_arch == arch} for arch in profile.archs}
    return tuple(each for each in HYPOTHESES if each == PAPER or any(
        {each.arm, *each.references, *each.harm_also} <= arms for arms in ran.values()))


def analysis_plan(profile: Profile) -> dict[str, Any]:
    """Return all that a verdict depends on besides measurements, as JSON values."""
    settings = settings_of(profile)
    numbers = Counter(run[:3] for run in settings.expected)
    by_generator = profile.replication.generators > 1 and not settings.folds
    return {
        "hypotheses": [asdict(each) for each in settings.hypotheses],
        "procedure": {
            "metric": words.PRIMARY_METRIC, "budget": settings.scarce_budget, "architectures": sorted(profile.archs),
            "unit_of_repetition": "generator" if by_generator else "classifier seed",
            "p_value": "the largest one-sided p over the references; 1 where the word is refused",
            "adjustment": "Holm over the hypotheses", "level": words.HYPOTHESES_LEVEL,
            "worthwhile": "the same test against the margin, at the level that was granted",
            "harm": "every upper limit is below 0, with an equal part of the level for each hypothesis",
            "bounds": "limits against bound_reference, with an equal part of the level for each hypothesis",
            "share_of_one_pool": dict(sorted(settings.shared.items())),
        },
        "folds": settings.folds,
        "margin": settings.margin,
        "confidence": words.CONFIDENCE,
        "equivalence_confidence": words.EQUIVALENCE_CONFIDENCE,
        "convergence_check": {"longer": dict(sorted(contrasts.LONGER.items())), "images": "validation",
                              "largest_upper_limit": settings.margin, "confidence": words.CONVERGENCE_CONFIDENCE},
        "words": [{"word": word, "when": when}
                  for word, when in (*words.REFUSALS.items(), *words.FINDINGS.items(), words.OTHERWISE)],
        "secondary": {
            "contrasts": [{"arm": contrast.arm, "reference": contrast.reference, "name": contrast.name,
                           "role": contrast.role} for contrast in contrasts.CONTRASTS
                          if contrast.role != "confirmatory"],
            "adjustment": "Holm", "level": words.FAMILY_LEVEL,
            "family": "every contrast that is part of no hypothesis, of every budget, in both metrics, in the mean "
                      "over architectures and, where there are several, in each of them; refused rows count with p = 1",
            "words": "a word that claims a difference needs the adjusted p; without it the next rule that holds "
                     "decides; equivalent and no worthwhile gain are not adjusted",
        },
        "controls_that_must_gain": dict(sorted(contrasts.CONTROLS.items())),
        "runs": [{"arm": arm, "arch": arch, "budget": budget, "number": number}
                 for (arm, arch, budget), number in sorted(numbers.items())],
        "protocol": profile.model_dump(mode="json", exclude={"compute"}),
        "source": settings.source, "simulated": settings.simulated, "root_seed": settings.root_seed,
        "pretrained": sorted(settings.pretrained),
    }
