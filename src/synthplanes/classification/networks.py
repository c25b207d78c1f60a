"""Build classifiers: timm models with the normalisation inside the module."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from synthplanes.compute import weights
from synthplanes.compute.torchvision_operators import declare_missing
from synthplanes.data.images import to_float
from synthplanes.errors import UserError
from synthplanes.protocol.config import Architecture

BATCH = 256  # images; affects memory only


class Classifier(nn.Module):
    """Compute logits float32 [N, K] of grey images float32 [N, 1, H, W] in [-1, 1]."""

    def __init__(self, body: nn.Module, mean: float = 0.0, deviation: float = 1.0):
        super().__init__()
        self.body = body
        # Buffers, so that the statistics of the training images travel with the weights.
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body((images - self.mean) / self.deviation)


def build(architecture: Architecture, n_classes: int, image_size: int, mean: float = 0.0, deviation: float = 1.0
          ) -> Classifier:
    """Return a classifier with random weights (torch's global generator) for square images of `image_size` px.

    Raises `UserError` when timm does not know the model or cannot build it for this size.
    """
    declare_missing()
    import timm  # takes seconds to import, and needs the declarations above
    if not timm.is_model(architecture.model):
        raise UserError(f"archs: timm has no model '{architecture.model}': choose one of timm.list_models() in "
                        "params.yaml.")
    try:
        body = timm.create_model(architecture.model, pretrained=False, in_chans=1, num_classes=n_classes,
                                 **architecture.options)
        body.eval()
        with torch.no_grad():
            body(torch.zeros(1, 1, image_size, image_size))
    except (TypeError, AssertionError, RuntimeError) as error:
        raise UserError(f"archs: '{architecture.model}' with {architecture.options} does not take {image_size} px "
                        f"images ({error}): correct its options in params.yaml.") from error
    return Classifier(body, mean, deviation)


def read_classifier(path: Path, architecture: Architecture, n_classes: int, image_size: int) -> Classifier:
    """Build a classifier, and read its weights and its normalisation."""
    network = build(architecture, n_classes, image_size)
    network.load_state_dict(weights.read_weights(path))
    return network


def probabilities(network: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Predict class probabilities float32 [N, K] of images uint8 [N, H, W], in evaluation mode."""
    network.eval()
    with torch.no_grad():
        batches = (torch.from_numpy(to_float(images[start:start + BATCH])).unsqueeze(1).to(device)
                   for start in range(0, max(len(images), 1), BATCH))
        return torch.cat([network(batch).softmax(dim=1).cpu() for batch in batches]).numpy()
