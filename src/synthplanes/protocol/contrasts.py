"""List the contrasts: which arms are compared with which.

All arms of a contrast hold the same information (the budget's labelled images), except that an oracle trains on fresh
patients: it is an upper bound, not a competitor.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contrast:
    """The gain of `arm` over `reference`; with `needs_convergence` it is refused where `real` has not converged."""

    name: str
    arm: str
    reference: str
    role: str                 # naive | confirmatory | secondary | baseline | control
    needs_convergence: bool


CONTRASTS = tuple(Contrast(*row) for row in (
    # name                        arm                          reference          role            needs convergence
    ("naive",                     "synthetic_then_real",       "real_short",      "naive",        False),  # unfair
    ("longer",                    "real",                      "real_short",      "secondary",    False),
    ("fair",                      "synthetic_then_real",       "real",            "confirmatory", True),
    ("fair_two_stage",            "synthetic_then_real",       "real_two_stage",  "confirmatory", True),
    ("two_stages",                "real_two_stage",            "real",            "secondary",    True),
    ("synthetic_only",            "synthetic",                 "real",            "secondary",    True),
    ("joint",                     "joint",                     "real",            "secondary",    True),
    ("joint_two_stage",           "joint",                     "real_two_stage",  "secondary",    True),
    ("by_augmentation",           "real_augmented",            "real",            "baseline",     True),
    ("by_patients",               "real_by_patient",           "real",            "baseline",     True),
    ("by_distillation",           "real_distilled",            "real",            "baseline",     True),
    ("over_augmented",            "synthetic_then_real",       "real_augmented",  "baseline",     True),
    ("over_by_patient",           "synthetic_then_real",       "real_by_patient", "baseline",     True),
    ("over_distilled",            "synthetic_then_real",       "real_distilled",  "baseline",     True),
    ("oracle_only",               "oracle",                    "real",            "control",      True),
    ("oracle",                    "oracle_then_real",          "real",            "control",      True),
    ("oracle_two_stage",          "oracle_then_real",          "real_two_stage",  "control",      True),
    ("resampled",                 "resampled_then_real",       "real",            "control",      True),
    ("resampled_two_stage",       "resampled_then_real",       "real_two_stage",  "control",      True),
    ("permuted_labels",           "permuted_labels_then_real", "real",            "control",      True),
    ("permuted_labels_two_stage", "permuted_labels_then_real", "real_two_stage",  "control",      True),
))
ROLES = ("naive", "confirmatory", "secondary", "baseline", "control")  # the order of tables and figures

CONFIRMATORY_ARM = "synthetic_then_real"
REFERENCES = ("real", "real_two_stage")  # both must be beaten: more real training, and two stages of it
# Controls with a known answer, under the rules of the confirmatory pair: whether each must help.
CONTROLS = {"oracle_then_real": True, "resampled_then_real": False, "permuted_labels_then_real": False}
# Arm: the upper bound; the gain of the arm over `real` is given as a share of that of the bound.
CEILINGS = {"synthetic": "oracle", "synthetic_then_real": "oracle_then_real"}
