"""What a profile's evaluation rests on, as the protocol fixes it."""

from synthplanes.protocol.arms import ARMS, expected_cells, uses_synthetic
from synthplanes.protocol.profiles import Profile
from synthplanes.protocol.settings import Settings


def settings_of(profile: Profile) -> Settings:
    """The settings of the evaluation; the confirmatory hypothesis is tested at the scarcest budget."""
    budgets = profile.used_budgets()
    return Settings(
        source=profile.prepare.source, simulated=profile.simulate is not None, margin=profile.evaluate.margin,
        scarce_budget=min(budgets, key=budgets.get), expected=expected_cells(profile),
        root_seed=profile.replication.root_seed,
        folds=profile.replication.generators if profile.prepare.cross_validation != "none" else 0,
        warm_started=frozenset(filter(uses_synthetic, ARMS)) if profile.train_diffusion.warm_start else frozenset())
