"""Define the analysis plan: the question and the rules that answer it, written before any test image is predicted.

It depends on the profile and the rules alone. The log of test access (statistics/test_access_log.py) records under
which plan test rows are scored.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from synthplanes.protocol import contrasts, words
from synthplanes.protocol.arms import ARMS, uses_synthetic
from synthplanes.protocol.profiles import Profile, Run


@dataclass(frozen=True)
class Settings:
    """The settings, fixed before any run, on which a verdict depends."""

    source: str
    simulated: bool             # the images come from a simulator: every verdict says so
    margin: float               # the smallest worthwhile gain, a fraction: 0.02 is two points
    scarce_budget: str          # where the one confirmatory hypothesis is tested
    expected: frozenset[Run]    # every run that the protocol asks for, over all budgets
    root_seed: int              # of the bootstrap's draws
    folds: int = 0              # of a cross-validation, each with a generator of its own; 0: none
    pretrained: frozenset[str] = frozenset()  # arms whose generator was pretrained on other images


def settings_of(profile: Profile) -> Settings:
    """Return a profile's settings; the confirmatory hypothesis is tested at the scarcest budget."""
    return Settings(
        source=profile.prepare.source, simulated=profile.simulate is not None, margin=profile.evaluate.margin,
        scarce_budget=profile.scarce_budget, expected=profile.runs(), root_seed=profile.replication.root_seed,
        folds=profile.folds,
        pretrained=frozenset(filter(uses_synthetic, ARMS)) if profile.train_diffusion.pretrained else frozenset())


def analysis_plan(profile: Profile) -> dict[str, Any]:
    """Return all that a verdict depends on besides measurements, as JSON values."""
    settings = settings_of(profile)
    numbers = Counter(run[:3] for run in settings.expected)
    by_generator = profile.replication.generators > 1 and not settings.folds
    return {
        "hypothesis": {
            "arm": contrasts.CONFIRMATORY_ARM, "references": list(contrasts.REFERENCES),
            "metric": words.PRIMARY_METRIC, "budget": settings.scarce_budget, "architectures": sorted(profile.archs),
            "claim": "the arm beats both references, in the mean over architectures",
            "unit_of_repetition": "generator" if by_generator else "classifier seed",
        },
        "folds": settings.folds,
        "margin": settings.margin,
        "confidence": words.CONFIDENCE,
        "equivalence_confidence": words.EQUIVALENCE_CONFIDENCE,
        "convergence_check": {"arm": "real_long", "reference": "real", "images": "validation",
                              "allowed_gain": settings.margin / 2},
        "words": [{"word": word, "when": when}
                  for word, when in (*words.REFUSALS.items(), *words.FINDINGS.items(), words.OTHERWISE)],
        "secondary": {
            "contrasts": [{"arm": contrast.arm, "reference": contrast.reference, "name": contrast.name,
                           "role": contrast.role} for contrast in contrasts.CONTRASTS
                          if contrast.role != "confirmatory"],
            "adjustment": "Holm", "level": words.FAMILY_LEVEL,
            "family": "every contrast of every budget but the confirmatory pair, in both metrics, in the mean over "
                      "architectures and, where there are several, in each of them; refused rows count",
            "words": "a word that claims a difference needs the adjusted p; without it the next rule that holds "
                     "decides",
        },
        "controls_that_must_help": dict(sorted(contrasts.CONTROLS.items())),
        "runs": [{"arm": arm, "arch": arch, "budget": budget, "number": number}
                 for (arm, arch, budget), number in sorted(numbers.items())],
        "protocol": profile.model_dump(mode="json", exclude={"compute"}),
        "source": settings.source, "simulated": settings.simulated, "root_seed": settings.root_seed,
        "pretrained": sorted(settings.pretrained),
    }
