"""A stage cell of classifiers on disk: trained runs, what they are, and their counted work."""

from argparse import Namespace
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from synthplanes import records
from synthplanes.protocol.arms import ARMS, Arm, seeds_of, updates_of
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.profiles import Profile

VALIDATION_LOOKS = 1  # per classifier, of every arm alike: after training, deciding nothing


def train_and_record(stage: str, arguments: Namespace, profile: Profile,
                     pools: Callable[[int], dict[str, LabelledImages]], pretrained: Path | None = None) -> None:
    """Train the arms of `stage` in the cell that `arguments` name; write cell.json and cost.json beside them.

    A cell that the profile does not use (null in its archs or budgets) ends at once and says so in cell.json.
    """
    used = arguments.arch in profile.used_archs() and arguments.budget in profile.used_budgets()
    updates, origins = {}, []
    if used:
        # torch takes seconds, which unused cells need not spend
        from synthplanes.classification.runs import train_cell
        from synthplanes.classification.starting_weights import learned_from
        from synthplanes.compute.checkpoints import Scratch
        origins = learned_from(profile.used_archs()[arguments.arch].start, arguments.adopted)
        replicates = range(profile.replication.generators)
        scratch = Scratch(arguments.scratch, *_identity(stage, arguments, profile))
        updates = train_cell(stage, profile, arguments.arch, [pools(r) for r in replicates], arguments.out, pretrained,
                             scratch, arguments.adopted)
    records.write_json(arguments.out / "cell.json", dict(
        profile=arguments.profile, budget=arguments.budget, arch=arguments.arch,
        model=profile.used_archs()[arguments.arch].model if used else None, arms=sorted(updates), updates=updates,
        validation_looks=VALIDATION_LOOKS, began_from=origins))
    records.write_cost(arguments.out, [item for name in updates for item in _costs(ARMS[name], arguments.arch, profile)])
    if used:
        scratch.clear()


def _identity(stage: str, arguments: Namespace, profile: Profile) -> list:
    """All that the cell's classifiers depend on."""
    prepared = arguments.prepared
    folders = [prepared / "development", prepared / "splits.csv", *([prepared / "fresh"] if stage != "baseline" else [])]
    folders += [getattr(arguments, name) for name in ("synthetic", "pretrain") if hasattr(arguments, name)]
    return [arguments.code, *folders, stage, arguments.budget, arguments.arch,
            profile.used_archs()[arguments.arch].model_dump(), profile.recipe.model_dump(),
            profile.replication.model_dump(), version("torch")]


def _costs(arm: Arm, arch: str, profile: Profile) -> list[dict]:
    """What the arm's own training costs here; a stage 1 made by another cell is counted there."""
    recipe = profile.recipe
    updates = recipe.stage_2_updates if arm.stage == "finetune" else updates_of(arm, recipe)
    n = len(seeds_of(arm, recipe, profile.replication.seeds))
    return [records.cost_item(arm.name, arch=arch, replicate=replicate, runs=n,
                              trained=n * updates * recipe.batch_size,
                              forward=n * updates * recipe.batch_size if arm.teacher else 0)
            for replicate in range(profile.replication.generators)]
