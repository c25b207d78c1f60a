"""A generator as MLflow serves it ("models from code"): no pickle, weights as safetensors.

MLflow copies this file beside the weights and runs it when the model is loaded; `set_model` at its end is that
protocol's one required act. Nothing in this project imports it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from synthplanes import records, seeds
from synthplanes.diffusion.denoiser import read_denoiser, read_early_average
from synthplanes.diffusion.guide import read_guide
from synthplanes.diffusion.sampling import draw
from synthplanes.protocol.config import Sample


class ServedGenerator(PythonModel):
    """Class numbers int64 [N] -> synthetic images uint8 [N, H, W]; the parameter `seed` is the root of all noise.

    Served images begin at noise: the images that the profile may begin at are not part of the model.
    """

    def load_context(self, context):
        sample = json.loads(Path(context.artifacts["sample"]).read_text(encoding="utf-8"))
        self.sample = Sample.model_validate(sample | {"plan": {}, "start": "noise"})
        folder = Path(context.artifacts["denoiser"])
        self.denoiser, self.guide = read_denoiser(folder), None
        if self.sample.guidance == "classifier":
            self.guide = read_guide(Path(context.artifacts["guide"]))
        elif self.sample.guidance == "auto":
            self.guide = read_early_average(folder)

    def predict(self, context, model_input, params=None):
        numbers = np.asarray(model_input).reshape(-1).tolist()
        seed = int((params or {}).get("seed", 0))
        classes = self.denoiser.configuration.classes
        wrong = [number for number in numbers if not 0 <= number < len(classes)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no class number: give 0 to {len(classes) - 1} for {', '.join(classes)}")
        index = records.Table.of_rows(records.SYNTHETIC, (
            dict(image_id=f"served-{position}", label=classes[number], scanner="", budget="", replicate=0, source="",
                 seed=seeds.derive(seed, "served noise", position)) for position, number in enumerate(numbers)))
        return draw(self.denoiser, self.guide, index, self.sample, torch.device("cpu"))[0]


set_model(ServedGenerator())
