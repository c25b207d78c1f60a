"""Images of two bright squares, and parameters by which a denoiser learns and draws them within a second."""

import numpy as np

from synthplanes.data.selection import LabelledImages
from synthplanes.diffusion.training import Task
from synthplanes.protocol.config import Sample, TrainDiffusion

PARAMETERS = TrainDiffusion.model_validate(dict(
    network=dict(unshuffle=2, channels=[16, 32], layers_per_block=1, attention_at=[], dropout=0.1), pretrained=None,
    images_seen=256, batch_size=16, learning_rate=1e-3, warmup_images=32, ema_halflife_images=64, noise_mean=-0.8,
    noise_deviation=1.2, early_average_fraction=0.25, condition_dropout=0.2, scanner_condition=True, class_balance=1.0,
    augmentation=0.2, held_out_every_images=64, patience_images=256, precision="float32", compile=False))
SAMPLE = Sample.model_validate(dict(
    images_per_class=3, solver="multistep", guidance="classifier_free", guidance_scale=1.5,
    guidance_interval=[0.0, 100.0], steps=4, sigma_min=0.02, sigma_max=20.0, rho=7.0, batch_size=6))


def squares(n: int = 24) -> LabelledImages:
    """Bright squares left (class a) or right (class b) on black, uint8 [n, 16, 16]."""
    labels = np.arange(n) % 2
    images = np.zeros((n, 16, 16), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 4:12, 8 * label:8 * label + 8] = 150 + 4 * row
    return LabelledImages(images, labels.astype(np.int64), np.array(["x", "y", ""] * (n // 3)),
                          np.array([f"i{i}" for i in range(n)]), ("a", "b"))


def task(threads: int = 1, **changes) -> Task:
    """The training of a denoiser on `squares`, with `changes` of PARAMETERS."""
    return Task(squares(), squares(6), PARAMETERS.model_copy(update=changes), root_seed=1, threads=threads)
