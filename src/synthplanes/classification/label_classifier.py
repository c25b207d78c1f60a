"""Train the audit's label classifier, which has no part in any arm."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from synthplanes import seeds
from synthplanes.classification.fitting import Portion, TrainingStage, fit
from synthplanes.classification.networks import build, probabilities
from synthplanes.compute.checkpoints import Checkpoints, images_sha256
from synthplanes.compute.devices import platform, prepare_torch
from synthplanes.data.images import mean_and_deviation
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.cells import Cell


@contextmanager
def label_classifiers(cell: Cell) -> Iterator[Callable[..., list[np.ndarray]]]:
    """Yield `predict(train_set, replicate, *others)`, which trains a classifier and predicts with it.

    It returns the probabilities float32 [N, K] of each of `others` (uint8 [N, H, W]). Trained classifiers are
    checkpointed; at the end, unused checkpoints are deleted.
    """
    parameters, recipe, compute = cell.parameters.audit, cell.parameters.recipe, cell.parameters.compute
    root_seed, device = cell.parameters.replication.root_seed, prepare_torch(compute.threads)
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(compute.instructions, compute.threads))

    def predict(train_set: LabelledImages, replicate: int, *others: np.ndarray) -> list[np.ndarray]:
        torch.manual_seed(seeds.derive(root_seed, "label classifier initialisation", replicate))
        network = build(parameters.label_classifier, len(train_set.classes), train_set.images.shape[1],
                        *mean_and_deviation(train_set.images))
        piece = checkpoints.piece(images_sha256(train_set), parameters.model_dump(), recipe.model_dump(), root_seed,
                                  replicate)
        if kept := piece.read():
            network.load_state_dict(kept[0])
            network.to(device, memory_format=torch.channels_last)  # as after `fit`: the layout decides the last bits
        else:
            stage = TrainingStage([Portion(train_set, parameters.batch_size, True)], parameters.updates,
                                  parameters.label_classifier.learning_rate,
                                  seeds.derive(root_seed, "label classifier batches", replicate))
            fit(network, stage, recipe, device)
            piece.write(network.state_dict(), {})
        return [probabilities(network, images, device) for images in others]

    yield predict
    checkpoints.prune()
