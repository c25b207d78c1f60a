"""Make predictions of a small profile whose truth is known: skills per arm, noise per patient and per seed."""

import numpy as np
import pytest

from synthplanes.records import PREDICTED, RUNS
from synthplanes.statistics.predictions import Predictions

CLASSES = ("abdomen", "brain", "femur")
# Longer arms are far worse, so that the references have converged beyond doubt.
SKILL = {"real_short": 0.2, "real": 1.0, "real_two_stage": 1.0, "real_long": 0.4, "real_two_stage_long": 0.4,
         "duplicate_joint": 1.0, "duplicate_joint_long": 0.4, "real_equal_exposure": 0.9, "synthetic": 0.6,
         "synthetic_then_real": 1.6, "joint": 1.0, "oracle": 1.8, "oracle_then_real": 2.0,
         "resampled_then_real": 1.0, "permuted_labels_then_real": 0.7}
ARMS = ("real_short", "real", "real_two_stage", "real_long", "real_two_stage_long", "synthetic", "synthetic_then_real",
        "joint")
JOINT = ("duplicate_joint", "duplicate_joint_long", "real_equal_exposure")  # what the second hypothesis also needs


@pytest.fixture
def world():
    """Return make(skills, ...) -> Predictions of one budget; the logit of the label grows with the arm's skill."""

    def make(skill=None, arms=ARMS, controls=(), control_archs=("residual",),
             archs=("residual", "convolutional"), budget="b25", n_patients=90, images_per_patient=3,
             replicates=(0,), seeds=range(4), root=0):
        skills = {**SKILL, **(skill or {})}
        rng = np.random.default_rng(root)
        patient = np.repeat(np.arange(n_patients), images_per_patient)
        labels = rng.integers(0, len(CLASSES), len(patient))
        role = np.where(patient % 3 == 0, "validation", "test")
        images = PREDICTED.typed(dict(
            image_id=[f"i{i:04d}" for i in range(len(patient))], patient_id=[f"p{p:03d}" for p in patient],
            label=[CLASSES[c] for c in labels], role=role, scanner=[""] * len(patient),
            operator=[""] * len(patient), sub_plane=[""] * len(patient)))
        difficulty = (rng.normal(0, 1, (len(patient), len(CLASSES)))
                      + rng.normal(0, .5, (n_patients, 1))[patient])
        rows, logits = [], []
        for arm in (*arms, *controls):
            for arch in control_archs if arm in controls else archs:
                for replicate in replicates:
                    for seed in seeds:
                        rows.append(dict(arm=arm, arch=arch, budget=budget, replicate=replicate, seed=seed))
                        logit = difficulty + rng.normal(0, .3, difficulty.shape)
                        logit[np.arange(len(labels)), labels] += skills[arm]
                        logits.append(logit)
        exponentials = np.exp(np.array(logits))
        probabilities = (exponentials / exponentials.sum(axis=2, keepdims=True)).astype(np.float32)
        return Predictions(RUNS.frame(rows), images, probabilities, CLASSES)

    return make
