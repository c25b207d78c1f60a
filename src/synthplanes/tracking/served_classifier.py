"""A classifier as MLflow serves it ("models from code"): no pickle, weights as safetensors.

MLflow copies this file beside the weights and runs it when the model is loaded; `set_model` at its end is that
protocol's one required act. Nothing in this project imports it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from synthplanes.classification.networks import build, load_weights
from synthplanes.data.images import to_float
from synthplanes.protocol.config import Architecture

BATCH = 256  # images


class ServedClassifier(PythonModel):
    """uint8 [N, H, W] grey images, 0..255, at the size it was trained for -> probabilities float32 [N, K]."""

    def load_context(self, context):
        description = json.loads(Path(context.artifacts["description"]).read_text(encoding="utf-8"))
        self.image_size = description["image_size"]
        self.network = build(Architecture.model_validate(description["architecture"]), len(description["classes"]),
                             self.image_size)
        self.network.load_state_dict(load_weights(Path(context.artifacts["weights"])))
        self.network.eval()

    def predict(self, context, model_input, params=None):
        images = np.asarray(model_input)
        if images.dtype != np.uint8 or images.shape[1:] != (self.image_size, self.image_size):
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, not uint8 [N, {self.image_size}, "
                             f"{self.image_size}]: reduce them as `synthplanes.data.images.frame` does")
        with torch.no_grad():
            parts = [self.network(torch.from_numpy(to_float(images[start:start + BATCH])).unsqueeze(1)).softmax(dim=1)
                     for start in range(0, len(images), BATCH)]
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.network.body.num_classes), np.float32)


set_model(ServedClassifier())
