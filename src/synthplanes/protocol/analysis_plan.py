"""The analysis plan: what is asked and how it is answered, written down before any test row is opened.

It is made from the protocol and from the rules of the code alone. `openings` holds the test rows to it.
"""

from collections import Counter
from collections.abc import Mapping

from synthplanes.statistics import clustered, contrasts, verdict
from synthplanes.protocol.settings import FAMILY_LEVEL, PRIMARY_METRIC, Settings


def analysis_plan(settings: Settings, protocol: Mapping) -> dict:
    """All that decides a verdict and is not measured; `protocol` is the profile's part of params.yaml, less its
    section `compute` and what it does not use."""
    runs = Counter((arm, arch, budget) for arm, arch, budget, *_ in settings.expected)
    replicates = len({replicate for *_, replicate, _ in settings.expected})
    return {
        "hypothesis": {
            "arm": contrasts.CONFIRMATORY_ARM, "references": list(contrasts.REFERENCES), "metric": PRIMARY_METRIC,
            "budget": settings.scarce_budget, "architectures": sorted({arch for _, arch, *_ in settings.expected}),
            "claim": "the arm beats both references, in the mean over architectures",
            "unit_of_repetition": "generator" if replicates > 1 and not settings.folds else "classifier seed",
        },
        "folds": settings.folds,
        "margin": settings.margin,
        "confidence": clustered.CONFIDENCE,
        "equivalence_confidence": clustered.EQUIVALENCE_CONFIDENCE,
        "gate": {"arm": "real_long", "reference": "real", "images": "validation", "allowed_gain": settings.margin / 2},
        "words": [{"word": word, "when": says} for word, _, says in (*verdict.REFUSALS, *verdict.FINDINGS)]
                 + [{"word": verdict.OTHERWISE, "when": "otherwise"}],
        "secondary": {
            "contrasts": [{"arm": one.arm, "reference": one.reference, "name": one.name, "role": one.role}
                          for one in contrasts.CONTRASTS if one.role != "confirmatory"],
            "adjustment": "Holm", "level": FAMILY_LEVEL,
            "family": "every contrast of every budget but the confirmatory pair, in both metrics, in the mean over "
                      "architectures and, where there are several, in each of them; refused rows count",
            "words": "a word that claims a difference needs the adjusted p; without it the next rule that holds decides",
        },
        "controls_that_must_help": {arm: must for arm, must in sorted(contrasts.CONTROLS.items())},
        "runs": [{"arm": arm, "arch": arch, "budget": budget, "number": number}
                 for (arm, arch, budget), number in sorted(runs.items())],
        "protocol": dict(protocol),
        "source": settings.source, "simulated": settings.simulated, "root_seed": settings.root_seed,
        "warm_started": sorted(settings.warm_started),
    }
