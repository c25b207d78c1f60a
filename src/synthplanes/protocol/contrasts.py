"""List the hypotheses of a verdict and the contrasts: which arms are compared with which.

All arms of a contrast hold the same information (the budget's labelled images), except that an oracle trains on fresh
patients: it is an upper bound, not a competitor.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """The claim that an arm beats all of its references, in the mean over the architectures that ran them."""

    name: str
    title: str                 # what the arm is called in a sentence
    arm: str
    references: tuple[str, ...]
    bound_reference: str       # the one against which a gain is shown to be small
    harm_also: tuple[str, ...] = ()  # further arms that must win before the word is *harm*


HYPOTHESES = (
    Hypothesis("paper_order", "pretraining on synthetic images", "synthetic_then_real", ("real", "real_two_stage"),
               "real_two_stage"),
    # Equal updates give `joint` fewer real images than `real` has, which is fair to a gain and not to a harm.
    Hypothesis("joint", "joint training", "joint", ("real", "real_two_stage", "duplicate_joint"), "duplicate_joint",
               ("real_equal_exposure",)),
)


@dataclass(frozen=True)
class Contrast:
    """The gain of `arm` over `reference`."""

    name: str
    arm: str
    reference: str
    role: str                 # naive | confirmatory | secondary | baseline | control
    needs_convergence: bool   # whether a favourable word needs a converged reference


CONTRASTS = tuple(Contrast(*row) for row in (
    # name                        arm                          reference              role            convergence
    ("naive",                     "synthetic_then_real",       "real_short",          "naive",        False),  # unfair
    ("longer",                    "real",                      "real_short",          "secondary",    False),
    ("fair",                      "synthetic_then_real",       "real",                "confirmatory", True),
    ("fair_two_stage",            "synthetic_then_real",       "real_two_stage",      "confirmatory", True),
    ("joint",                     "joint",                     "real",                "confirmatory", True),
    ("joint_two_stage",           "joint",                     "real_two_stage",      "confirmatory", True),
    ("joint_duplicate",           "joint",                     "duplicate_joint",     "confirmatory", True),
    ("joint_exposure",            "joint",                     "real_equal_exposure", "secondary",    False),
    ("orders",                    "joint",                     "synthetic_then_real", "secondary",    False),
    ("duplicate",                 "duplicate_joint",           "real",                "secondary",    True),
    ("two_stages",                "real_two_stage",            "real",                "secondary",    True),
    ("synthetic_only",            "synthetic",                 "real",                "secondary",    True),
    ("by_augmentation",           "real_augmented",            "real",                "baseline",     True),
    ("by_patients",               "real_by_patient",           "real",                "baseline",     True),
    ("by_distillation",           "real_distilled",            "real",                "baseline",     True),
    ("over_augmented",            "synthetic_then_real",       "real_augmented",      "baseline",     True),
    ("over_by_patient",           "synthetic_then_real",       "real_by_patient",     "baseline",     True),
    ("over_distilled",            "synthetic_then_real",       "real_distilled",      "baseline",     True),
    ("oracle_only",               "oracle",                    "real",                "control",      True),
    ("oracle",                    "oracle_then_real",          "real",                "control",      True),
    ("oracle_two_stage",          "oracle_then_real",          "real_two_stage",      "control",      True),
    ("oracle_joint",              "oracle_joint",              "real",                "control",      True),
    ("resampled",                 "resampled_then_real",       "real",                "control",      True),
    ("resampled_two_stage",       "resampled_then_real",       "real_two_stage",      "control",      True),
    ("permuted_labels",           "permuted_labels_then_real", "real",                "control",      True),
    ("permuted_labels_two_stage", "permuted_labels_then_real", "real_two_stage",      "control",      True),
))
ROLES = ("naive", "confirmatory", "secondary", "baseline", "control")  # the order of tables and figures

PAPER = HYPOTHESES[0]                # the question of the paper; every profile asks it
CONFIRMATORY_ARM = PAPER.arm
REFERENCES = PAPER.references        # both must be beaten: more real training, and two stages of it
# Reference -> the same arm at twice the updates, for the convergence check.
LONGER = {"real": "real_long", "real_two_stage": "real_two_stage_long", "duplicate_joint": "duplicate_joint_long"}
# Controls with a known answer, under the rules of the paper's hypothesis: whether each must gain.
CONTROLS = {"oracle_then_real": True, "resampled_then_real": False, "permuted_labels_then_real": False}
# Arm: the upper bound; the gain of the arm over `real` is given as a share of that of the bound.
CEILINGS = {"synthetic": "oracle", "synthetic_then_real": "oracle_then_real", "joint": "oracle_joint"}
