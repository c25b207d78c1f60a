"""Hold the state from which the denoiser's training resumes: weights, averages, AdamW's moments and counters.

No random generator is part of it, because every step's randomness derives from its number.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from synthplanes.diffusion.denoiser import Denoiser

Tensors = dict[str, torch.Tensor]


@dataclass
class Counters:
    """The progress of a training."""

    seen: int = 0                                       # images
    step: int = 0
    best_loss: float | None = None                      # lowest held-out loss, where patience asks for it
    best_seen: int = 0                                  # images seen at that moment
    forward: int = 0                                    # forward passes of held-out images
    history: list[dict] = field(default_factory=list)   # rows of records.GENERATOR_HISTORY
    since: list[float] = field(default_factory=list)    # losses since the last row


@dataclass
class State:
    """All that changes while a denoiser is trained."""

    denoiser: Denoiser
    average: Denoiser                                   # exponential moving average of the weights
    optimiser: torch.optim.Optimizer
    early: Tensors = field(default_factory=dict)        # the average of an earlier moment, for autoguidance
    best: Tensors = field(default_factory=dict)         # the average at the lowest held-out loss, with patience
    at: Counters = field(default_factory=Counters)

    def tensors(self, finished: bool) -> Tensors:
        """Return the tensors by name: all those needed to resume or, once training has finished, its results alone."""
        parts = {"average": self.average.state_dict(), "early": self.early, "best": self.best}
        if not finished:
            parts["denoiser"] = self.denoiser.state_dict()
            for number, moments in self.optimiser.state_dict()["state"].items():
                parts[f"optimiser.{number}"] = moments
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def facts(self) -> dict[str, Any]:
        """Return the counters as JSON values; floats survive JSON exactly."""
        return asdict(self.at)

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Load a saved state into newly built networks and optimiser."""
        if trained := _below("denoiser.", tensors):
            self.denoiser.load_state_dict(trained)
        self.average.load_state_dict(_below("average.", tensors))
        moments: dict[int, Tensors] = {}
        for name, tensor in _below("optimiser.", tensors).items():
            number, moment = name.split(".", 1)
            moments.setdefault(int(number), {})[moment] = tensor
        self.optimiser.load_state_dict(
            {"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.early, self.best, self.at = _below("early.", tensors), _below("best.", tensors), Counters(**facts)


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
