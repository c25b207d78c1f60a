"""The arms of the protocol, comparable by eye.

P and T are recipe.stage_1_updates and recipe.stage_2_updates. A schedule (warm-up, then a half cosine to
zero) spans each stage. Stage 2 has its own peak learning rate (recipe.stage_2_learning_rate_ratio) where a
first stage went before; the single stage of `real`, its rivals, `mixed` and `real_long` has the peak at which the
integral of the learning rate per update equals that of the two-stage arms.
"""

from dataclasses import dataclass
from typing import Literal

from synthplanes.protocol.profiles import Profile
from synthplanes.protocol.config import Recipe

Pool = Literal["real", "synthetic", "fresh", "null", "poison", "mixed"]


@dataclass(frozen=True)
class Arm:
    name: str
    stage: Literal["baseline", "pretrain", "finetune", "joint"]  # the pipeline stage that makes it
    stage_1: Pool | None
    stage_2: Pool | None
    length: Literal["P", "T", "P+T", "2(P+T)"]
    control: str | None = None
    question: str = ""
    rival: str | None = None    # what is done with the same real images in place of making more
    teacher: str | None = None  # the arm whose finished classifier of the same seed gives half of every target


ARMS = {arm.name: arm for arm in (
    #   name                   made in     stage 1      stage 2  updates   control
    Arm("real_short",          "baseline", None,        "real",  "T",      None,     "the naive baseline"),
    Arm("real",                "baseline", "real",      None,    "P+T",    None,     "the strong simple baseline"),
    Arm("real_two_stage",      "baseline", "real",      "real",  "P+T",    None,     "two stages without synthetic images"),
    Arm("real_long",           "baseline", "real",      None,    "2(P+T)", None,     "the plateau gate"),
    Arm("real_augmented",      "baseline", "real",      None,    "P+T",    None,     "rival: a strong augmentation policy",
        "augmented"),
    Arm("real_by_patient",     "baseline", "real",      None,    "P+T",    None,     "rival: patients equally likely, not images",
        "by_patient"),
    Arm("real_distilled",      "baseline", "real",      None,    "P+T",    None,     "rival: half of every target from `real`",
        "distilled", "real"),
    Arm("synthetic",           "pretrain", "synthetic", None,    "P",      None,     "train on synthetic, test on real"),
    Arm("oracle",              "pretrain", "fresh",     None,    "P",      "oracle", "as many fresh phantom patients' images"),
    Arm("null",                "pretrain", "null",      None,    "P",      "null",   "a resample of the arm's own real images"),
    Arm("poison",              "pretrain", "poison",    None,    "P",      "poison", "synthetic images with permuted labels"),
    Arm("synthetic_then_real", "finetune", "synthetic", "real",  "P+T",    None,     "the paper's method"),
    Arm("oracle_then_real",    "finetune", "fresh",     "real",  "P+T",    "oracle", "must help: the ceiling"),
    Arm("null_then_real",      "finetune", "null",      "real",  "P+T",    "null",   "must not help"),
    Arm("poison_then_real",    "finetune", "poison",    "real",  "P+T",    "poison", "must not help"),
    Arm("mixed",               "joint",    "mixed",     None,    "P+T",    None,     "joint training at a fixed share"),
)}


def uses_synthetic(arm: str) -> bool:
    """Whether an arm sees synthetic images, so that it pays for their making and holds what their generator held."""
    return bool({ARMS[arm].stage_1, ARMS[arm].stage_2} & {"synthetic", "poison", "mixed"})


def arms_of(stage: str, arch: str, recipe: Recipe) -> list[Arm]:
    """The arms that a pipeline stage makes for an architecture role, an arm's teacher before it.

    `mixed`, controls and rivals are among them only where the recipe has them.
    """
    return [arm for arm in ARMS.values() if arm.stage == stage
            and (arm.control is None or (arm.control in recipe.controls and arch in recipe.control_archs))
            and (arm.rival is None or (arm.rival in recipe.rivals and arch in recipe.rival_archs))
            and (arm.name != "mixed" or arch in recipe.mixed_archs)]


def needed_by(arm: Arm) -> str | None:
    """The arm whose finished classifiers this one starts from or learns from."""
    return arm.name.removesuffix("_then_real") if arm.stage == "finetune" else arm.teacher


def seeds_of(arm: Arm, recipe: Recipe, seeds: int) -> range:
    """The classifier seeds of an arm: all, but the plateau gate's own fewer ones."""
    return range(recipe.plateau_seeds if arm.name == "real_long" else seeds)


def updates_of(arm: Arm, recipe: Recipe) -> int:
    p, t = recipe.stage_1_updates, recipe.stage_2_updates
    return {"P": p, "T": t, "P+T": p + t, "2(P+T)": 2 * (p + t)}[arm.length]


def single_stage_ratio(recipe: Recipe) -> float:
    """Peak of a single stage over peak of stage 1, so that its integral is that of the two stages."""
    p, t = recipe.stage_1_updates, recipe.stage_2_updates
    return (p + t * recipe.stage_2_learning_rate_ratio) / (p + t)


def expected_cells(profile: Profile) -> frozenset[tuple[str, str, str, int, int]]:
    """Every classifier that a profile asks for: (arm, architecture role, budget, replicate, seed)."""
    return frozenset(
        (arm.name, arch, budget, replicate, seed)
        for budget in profile.used_budgets() for arch in profile.used_archs()
        for stage in ("baseline", "pretrain", "finetune", "joint") for arm in arms_of(stage, arch, profile.recipe)
        for replicate in range(profile.replication.generators)
        for seed in seeds_of(arm, profile.recipe, profile.replication.seeds))
