"""The judge of the audit: a classifier that has no part in any arm."""

import numpy as np
import torch

from synthplanes import seeds
from synthplanes.classification.fitting import Portion, fit
from synthplanes.classification.networks import build
from synthplanes.data.images import mean_and_deviation, to_float
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.config import Audit, Recipe

BATCH = 256  # images; changes nothing but memory


def judge(train_set: LabelledImages, others: list[np.ndarray], parameters: Audit, recipe: Recipe, root_seed: int,
          replicate: int, device: torch.device) -> list[np.ndarray]:
    """Train the judge on `train_set`; its probabilities float32 [N, K] for each of `others` (uint8 [N, H, W])."""
    torch.manual_seed(seeds.derive(root_seed, "judge initialisation", replicate))
    network = build(parameters.judge, len(train_set.classes), train_set.images.shape[1],
                    *mean_and_deviation(train_set.images))
    fit(network, [Portion(train_set, parameters.batch_size, True)], parameters.updates, parameters.judge.learning_rate,
        recipe, seeds.derive(root_seed, "judge batches", replicate), device)
    network.eval()
    with torch.no_grad():
        return [np.concatenate([
            network(torch.from_numpy(to_float(images[start:start + BATCH])).unsqueeze(1).to(device))
            .softmax(dim=1).cpu().numpy() for start in range(0, len(images), BATCH)]) for images in others]
