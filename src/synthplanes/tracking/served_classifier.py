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
        architecture = Architecture.model_validate(description["architecture"])
        self.network = read_classifier(Path(context.artifacts["weights"]), architecture, len(description["classes"]),
                                       description["image_size"])

    def predict(self, context, model_input: np.ndarray, params=None):
        """Return the probabilities of some images; those of another size or type MLflow refuses."""
        return probabilities(self.network, np.asarray(model_input), torch.device("cpu"))


set_model(ServedClassifier())
