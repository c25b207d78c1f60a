"""Serve a classifier with MLflow ("models from code"): no pickle, weights as safetensors.

MLflow copies this file beside the weights and runs it when the model is loaded; that protocol asks for `set_model` at
its end. Nothing in this project imports it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from synthplanes.classification.networks import probabilities, read_classifier
from synthplanes.protocol.config import Architecture


class ServedClassifier(PythonModel):
    """Map grey images, uint8 [N, H, W], at the size of the training images to probabilities, float32 [N, K]."""

    def load_context(self, context):
        """Build the network of description.json and load its weights."""
        description = json.loads(Path(context.artifacts["description"]).read_text(encoding="utf-8"))
        self.image_size = description["image_size"]
        architecture = Architecture.model_validate(description["architecture"])
        self.network = read_classifier(Path(context.artifacts["weights"]), architecture, len(description["classes"]),
                                       self.image_size)

    def predict(self, context, model_input: np.ndarray, params=None):
        """Return the probabilities of some images; raises `ValueError` for another size or type."""
        images = np.asarray(model_input)
        if images.dtype != np.uint8 or images.shape[1:] != (self.image_size, self.image_size):
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, not uint8 [N, {self.image_size}, "
                             f"{self.image_size}]: reduce them as `synthplanes.data.images.frame` does")
        return probabilities(self.network, images, torch.device("cpu"))


set_model(ServedClassifier())
