"""Serve a generator with MLflow, as served_classifier.py serves a classifier."""

from pathlib import Path

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from synthplanes import records, seeds
from synthplanes.diffusion.sampling import read_sampler
from synthplanes.protocol.config import Sample


class ServedGenerator(PythonModel):
    """Map class numbers, int64 [N], to synthetic images, uint8 [N, H, W]; `seed` is the root of all noise."""

    def load_context(self, context):
        """Read the denoiser, its guide where the sampling needs one, and the sampling's parameters."""
        parameters = Sample.model_validate_json(Path(context.artifacts["description"]).read_text(encoding="utf-8"))
        self.sampler = read_sampler(Path(context.artifacts["denoiser"]), Path(context.artifacts.get("guide", "")),
                                    parameters, torch.device("cpu"))

    def predict(self, context, model_input: np.ndarray, params=None):
        """Return one image per class number; raises `ValueError` for a number that no class has."""
        numbers = np.asarray(model_input).reshape(-1).tolist()
        seed, classes = int((params or {}).get("seed", 0)), self.sampler.denoiser.configuration.classes
        wrong = [number for number in numbers if not 0 <= number < len(classes)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no class number: give 0 to {len(classes) - 1} for {', '.join(classes)}")
        index = records.SYNTHETIC.frame(
            dict(image_id=f"served-{position}", label=classes[number], scanner="", budget="", replicate=0,
                 seed=seeds.derive(seed, "served noise", position)) for position, number in enumerate(numbers))
        return self.sampler.draw(index).images


set_model(ServedGenerator())
