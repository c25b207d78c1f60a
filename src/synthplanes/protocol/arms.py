"""List the arms of the protocol in one aligned table.

P and T are recipe.stage_1_updates and recipe.stage_2_updates. A schedule (warm-up, then a half cosine to zero) spans
each stage. Stage 2 has its own peak learning rate (recipe.stage_2_learning_rate_ratio) where a first stage precedes it;
the single stage of an arm of P+T updates has the peak at which the integral of the learning rate per update equals that
of the two-stage arms.
"""

from dataclasses import dataclass
from typing import Literal

from synthplanes.protocol.config import Recipe

# Where a stage's images come from: `resampled` is a resample of the real ones; the last three are real ones and, in the
# same batch, synthetic ones, fresh ones or real ones once more.
Pool = Literal["real", "synthetic", "fresh", "resampled", "permuted_labels", "joint", "joint_fresh", "joint_real"]
TRAINING_STAGES = ("baseline", "pretrain", "finetune", "joint")


@dataclass(frozen=True)
class Arm:
    """One way to train a classifier."""

    name: str
    stage: str                # the pipeline stage that trains it, one of TRAINING_STAGES
    stage_1: Pool | None
    stage_2: Pool | None
    updates: Literal["P", "T", "P+T", "2(P+T)", "(1-s)(P+T)"]  # s: recipe.joint_synthetic_fraction
    option: str               # the key of recipe.optional_arms that switches it on; '' for an arm of every profile
    question: str             # what the arm answers
    kind: Literal["arm", "control", "baseline"] = "arm"  # baseline: more from the same real images
    teacher: str = ""         # the arm whose finished classifier of the same seed gives half of every target


ARMS = {arm.name: arm for arm in (
    #   name                         trained by  stage 1            stage 2  updates   option
    Arm("real_short",                "baseline", None,              "real",  "T",      "", "the naive baseline"),
    Arm("real",                      "baseline", "real",            None,    "P+T",    "",
        "the strong simple baseline"),
    Arm("real_two_stage",            "baseline", "real",            "real",  "P+T",    "",
        "two stages without synthetic images"),
    Arm("real_long",                 "baseline", "real",            None,    "2(P+T)", "",
        "the convergence check of `real`"),
    Arm("real_two_stage_long",       "baseline", "real",            "real",  "2(P+T)", "",
        "the convergence check of `real_two_stage`"),
    Arm("duplicate_joint",           "baseline", "joint_real",      None,    "P+T",    "joint",
        "real images in place of `joint`'s synthetic ones"),
    Arm("duplicate_joint_long",      "baseline", "joint_real",      None,    "2(P+T)", "joint",
        "the convergence check of `duplicate_joint`"),
    Arm("real_equal_exposure",       "baseline", "real",            None,    "(1-s)(P+T)", "joint",
        "as many real images as `joint` sees"),
    Arm("real_augmented",            "baseline", "real",            None,    "P+T",    "augmented",
        "a strong augmentation policy", "baseline"),
    Arm("real_by_patient",           "baseline", "real",            None,    "P+T",    "by_patient",
        "patients equally likely, not images", "baseline"),
    Arm("real_distilled",            "baseline", "real",            None,    "P+T",    "distilled",
        "half of every target from `real`", "baseline", "real"),
    Arm("synthetic",                 "pretrain", "synthetic",       None,    "P",      "",
        "train on synthetic, test on real"),
    Arm("oracle",                    "pretrain", "fresh",           None,    "P",      "oracle",
        "as many images of fresh phantom patients", "control"),
    Arm("resampled",                 "pretrain", "resampled",       None,    "P",      "resampled",
        "a resample of the arm's own real images", "control"),
    Arm("permuted_labels",           "pretrain", "permuted_labels", None,    "P",      "permuted_labels",
        "synthetic images with permuted labels", "control"),
    Arm("synthetic_then_real",       "finetune", "synthetic",       "real",  "P+T",    "", "the paper's method"),
    Arm("oracle_then_real",          "finetune", "fresh",           "real",  "P+T",    "oracle",
        "must gain: the ceiling", "control"),
    Arm("resampled_then_real",       "finetune", "resampled",       "real",  "P+T",    "resampled",
        "must not gain", "control"),
    Arm("permuted_labels_then_real", "finetune", "permuted_labels", "real",  "P+T",    "permuted_labels",
        "must not gain", "control"),
    Arm("joint",                     "joint",    "joint",           None,    "P+T",    "joint",
        "real and synthetic images in every batch"),
    Arm("oracle_joint",              "joint",    "joint_fresh",     None,    "P+T",    "oracle_joint",
        "must gain: the ceiling of `joint`", "control"),
)}
OPTIONS = tuple(dict.fromkeys(arm.option for arm in ARMS.values() if arm.option))


def uses_synthetic(arm: str) -> bool:
    """Return whether an arm trains on synthetic images, and so holds the information of their generator."""
    return bool({ARMS[arm].stage_1, ARMS[arm].stage_2} & {"synthetic", "permuted_labels", "joint"})


def arms_of(stage: str, arch: str, recipe: Recipe) -> list[Arm]:
    """Return the arms that a pipeline stage trains for an architecture role, an arm's teacher before it."""
    return [arm for arm in ARMS.values() if arm.stage == stage
            and (not arm.option or arch in recipe.optional_arms.get(arm.option, []))]


def needed_by(arm: Arm) -> str | None:
    """Return the arm whose finished classifiers this one starts from or learns from."""
    return arm.name.removesuffix("_then_real") if arm.stage == "finetune" else arm.teacher or None


def updates_of(arm: Arm, recipe: Recipe) -> int:
    """Return the total number of updates of an arm."""
    p, t, synthetic = recipe.stage_1_updates, recipe.stage_2_updates, recipe.joint_synthetic_fraction
    return {"P": p, "T": t, "P+T": p + t, "2(P+T)": 2 * (p + t),
            "(1-s)(P+T)": max(1, round((1 - synthetic) * (p + t)))}[arm.updates]


def single_stage_ratio(recipe: Recipe) -> float:
    """Return the peak of a single stage over that of stage 1 at which its integral is that of the two stages."""
    p, t = recipe.stage_1_updates, recipe.stage_2_updates
    return (p + t * recipe.stage_2_learning_rate_ratio) / (p + t)
