"""Try every classifier of a profile for one step, so that no wrong architecture stops a pipeline after hours."""

import torch
from torch.nn import functional

from synthplanes.classification.networks import build
from synthplanes.classification.pretrained import load_pretrained, pretrained_on
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import Profile


def try_architectures(profile: Profile, paths: Paths) -> None:
    """Build every network, load its pretrained weights and take one gradient; a fault raises `UserError`."""
    size, labels = profile.prepare.image_size, torch.tensor([0, 1])
    images = torch.linspace(-1, 1, 2 * size * size).view(2, 1, size, size)
    roles = {f"archs.{role}": architecture for role, architecture in profile.archs.items()}
    for where, architecture in {**roles, "audit.label_classifier": profile.audit.label_classifier}.items():
        fault = ""
        try:
            network = build(architecture, len(labels), size).train()
            if architecture.pretrained is not None:
                pretrained_on(architecture.pretrained, paths.pretrained)
                load_pretrained(network, architecture.pretrained, paths.pretrained)
            functional.cross_entropy(network(images), labels).backward()
            slopes = [weight.grad for weight in network.parameters() if weight.grad is not None and weight.ndim > 1]
            if not all(slope.isfinite().all() for slope in slopes) or not any(slope.any() for slope in slopes):
                fault = "its gradients are zero or not finite"
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except Exception as error:  # timm's models raise nearly anything
            fault = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        if fault:
            raise UserError(f"{where}: '{architecture.model}' with {architecture.options} cannot be trained on {size} "
                            f"px images ({fault}): correct its options in params.yaml.")
