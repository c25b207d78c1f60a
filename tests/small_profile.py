"""A tiny valid profile for tests that need parameters but no training."""

from pathlib import Path

from synthplanes.protocol.profiles import Profile, read_protocol

PARAMS = Path(__file__).parents[1] / "params.yaml"
ROLES = ("residual", "transformer")


def small_profile(archs=("residual",), budgets=("scarce",), guidance="none", controls=(), rivals=()) -> Profile:
    """P = 40, T = 20, batches of 8, 6 seeds, 1 generator, 2 plateau seeds; controls and rivals on the first architecture."""
    return Profile.model_validate(small_profile_parameters(archs, budgets, guidance, controls, rivals))


def small_profile_parameters(archs=("residual",), budgets=("scarce",), guidance="none", controls=(), rivals=()) -> dict:
    """The phantom profile of params.yaml with a few small numbers in it."""
    whole = read_protocol(PARAMS).profiles["phantom"].model_dump()
    whole["replication"] = {"root_seed": 1, "generators": 1, "seeds": 6}
    whole["budgets"] = {name: 0.3 if name in budgets else None for name in ("scarce", "full")}
    whole["archs"] = {role: {"model": "test_resnet", "learning_rate": 0.003, "options": {}} if role in archs else None
                      for role in ROLES}
    whole["prepare"]["image_size"] = 16
    whole["train_diffusion"]["images_seen"] = 512
    whole["train_guide"] |= {"updates": 10, "batch_size": 4}
    whole["sample"] |= {"images_per_class": 3, "steps": 5, "guidance": guidance}
    whole["audit"] |= {"updates": 10, "batch_size": 8}
    whole["recipe"] |= {"stage_1_updates": 40, "stage_2_updates": 20, "batch_size": 8, "plateau_seeds": 2,
                        "mixed_archs": list(archs), "controls": list(controls), "control_archs": [archs[0]],
                        "rivals": list(rivals), "rival_archs": [archs[0]]}
    whole["evaluate"]["margin"] = 0.02
    return whole
