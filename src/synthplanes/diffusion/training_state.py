"""What the denoiser's training goes on from: weights, averages, AdamW's moments and the counters.

No generator's state is among it, because every step's randomness derives from its number.
"""

from dataclasses import asdict, dataclass, field

import torch

from synthplanes.diffusion.denoiser import Denoiser


@dataclass
class Counters:
    """Where the training stands."""

    seen: int = 0                                       # images
    step: int = 0
    coarse: int = 0                                     # images seen at half the size
    best_loss: float | None = None                      # lowest held-out loss, where patience asks for it
    best_seen: int = 0                                  # images seen at that moment
    forward: int = 0                                    # forward passes of held-out images
    history: list[dict] = field(default_factory=list)   # rows of records.GENERATOR_HISTORY
    since: list[float] = field(default_factory=list)    # losses since the last row


def as_state(denoiser: Denoiser, average: Denoiser, early: dict[str, torch.Tensor], best: dict[str, torch.Tensor],
             optimiser: torch.optim.Optimizer, counters: Counters) -> tuple[dict[str, torch.Tensor], dict]:
    """(named tensors, facts that JSON can hold); floats survive JSON exactly."""
    tensors = {f"denoiser.{name}": tensor for name, tensor in denoiser.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    tensors |= {f"early.{name}": tensor for name, tensor in early.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
    return tensors, asdict(counters)


def from_state(tensors: dict[str, torch.Tensor], facts: dict, denoiser: Denoiser, average: Denoiser,
               optimiser: torch.optim.Optimizer
               ) -> tuple[Counters, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Put a state back into freshly built networks and optimiser; returns its counters, early and best average."""
    denoiser.load_state_dict(_part(tensors, "denoiser."))
    average.load_state_dict(_part(tensors, "average."))
    moments: dict[int, dict] = {}
    for name, tensor in _part(tensors, "optimiser.").items():
        number, moment = name.split(".", 1)
        moments.setdefault(int(number), {})[moment] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return Counters(**facts), _part(tensors, "early."), _part(tensors, "best.")


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
