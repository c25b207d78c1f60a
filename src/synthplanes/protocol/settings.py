"""What was fixed before any run, as far as the verdict depends on it."""

from dataclasses import dataclass

from synthplanes.statistics.predictions import Cell

PRIMARY_METRIC = "balanced_accuracy"
FAMILY_LEVEL = 0.05  # of the whole family of secondary contrasts


@dataclass(frozen=True)
class Settings:
    """The plan of one profile's evaluation."""

    source: str
    simulated: bool             # the images come from a simulator: every verdict says so
    margin: float               # the smallest worthwhile gain, a fraction: 0.02 is two points
    scarce_budget: str          # where the one confirmatory hypothesis is tested
    expected: frozenset[Cell]   # every run that the protocol asks for, over all budgets
    root_seed: int              # of the bootstrap's draws
    folds: int = 0              # of a cross-validation, each with a generator of its own; 0: none
    warm_started: frozenset[str] = frozenset()  # arms whose generator had learned from other images before
