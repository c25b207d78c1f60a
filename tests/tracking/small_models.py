"""A classifier and a generator that can be loaded, for a fake checkout."""

import torch

from synthplanes.classification.networks import Classifier, build
from synthplanes.compute.weights import write_weights
from synthplanes.diffusion.denoiser import Configuration, Denoiser, write_denoiser
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.config import Architecture
from tests.fake_checkout import ARCH, BUDGET, CLASSES, SIZE


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    return build(Architecture(model="test_resnet", learning_rate=0.003, options={}), len(CLASSES), SIZE).eval()


def write_models(at: Paths) -> None:
    """Write them in place of the bytes of the classifier `real` s1 and of the generator."""
    write_weights(at.weights("baseline", BUDGET, ARCH, 0, "real", 1), small_classifier().state_dict())
    torch.manual_seed(0)
    denoiser = Denoiser(Configuration(
        image_size=SIZE, unshuffle=2, channels=(32, 32), layers_per_block=1, attention_at=(), dropout=0.0,
        classes=CLASSES, scanners=("a",), data_mean=0.0, data_deviation=0.5))
    write_denoiser(at.replicate("generator", BUDGET, 0), denoiser.configuration, denoiser.state_dict())
