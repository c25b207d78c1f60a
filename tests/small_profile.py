"""A tiny valid profile for tests that need parameters but no training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthplanes.protocol.profiles import Profile, resolved

PARAMS = Path(__file__).parents[1] / "params.yaml"


def small_profile(archs: Sequence[str] = ("residual",), budgets: Sequence[str] = ("scarce",), guidance: str = "none",
                  optional: Sequence[str] = ()) -> Profile:
    """Return a profile with P = 40, T = 20, batches of 8, 6 seeds and 1 generator.

    The options named in `optional` run on the first architecture, `joint` on all.
    """
    return Profile.model_validate(small_profile_parameters(archs, budgets, guidance, optional))


def small_profile_parameters(archs: Sequence[str] = ("residual",), budgets: Sequence[str] = ("scarce",),
                             guidance: str = "none", optional: Sequence[str] = ()) -> dict[str, Any]:
    """Return the parameters of the profile `phantom` with small numbers in their place, as params.yaml holds them."""
    whole = resolved("phantom", PARAMS)
    whole["replication"] |= {"root_seed": 1, "generators": 1, "seeds": 6}
    whole["budgets"] = dict.fromkeys(budgets, 0.3)
    whole["archs"] = {role: {"model": "test_resnet", "learning_rate": 0.003, "options": {}} for role in archs}
    whole["prepare"]["image_size"] = 16
    whole["train_diffusion"]["images_seen"] = 512
    whole["train_diffusion"] |= {"batch_size": 64, "network": {
        "unshuffle": 2, "channels": [64, 128, 128], "layers_per_block": 1, "attention_at": [1], "dropout": 0.1}}
    whole["train_guide"] |= {"updates": 10, "batch_size": 4}
    whole["recipe"]["joint_synthetic_fraction"] = 0.5
    whole["sample"] |= {"images_per_class": 3, "steps": 5, "guidance": guidance}
    whole["audit"] |= {"updates": 10, "batch_size": 8}
    whole["recipe"] |= {
        "stage_1_updates": 40, "stage_2_updates": 20, "batch_size": 8,
        "optional_arms": {"joint": list(archs), **{option: [archs[0]] for option in optional}}}
    whole["evaluate"]["margin"] = 0.02
    return whole
