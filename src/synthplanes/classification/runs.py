"""Train one run, with the images, the initial weights and the number of updates of each stage of its arm."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from synthplanes import records, seeds
from synthplanes.classification.fitting import Portion, TrainingStage, fit
from synthplanes.classification.networks import build, read_classifier
from synthplanes.classification.pretrained import load_pretrained
from synthplanes.compute.checkpoints import NOTHING_KEPT, Piece
from synthplanes.compute.devices import prepare_torch
from synthplanes.compute.draws import class_balanced
from synthplanes.compute.weights import read_weights, write_weights
from synthplanes.data.images import mean_and_deviation
from synthplanes.data.selection import LabelledImages
from synthplanes.protocol.arms import Arm, single_stage_ratio, updates_of
from synthplanes.protocol.config import Architecture, Recipe

THREADS_PER_RUN = 1  # runs are trained in parallel; one thread each is efficient and reproducible
# The image sets that a pool needs besides the real one.
_MADE_OF = {"synthetic": "synthetic", "permuted_labels": "synthetic", "joint": "synthetic",
            "resampled": "synthetic", "fresh": "fresh"}


@dataclass(frozen=True)
class Task:
    """One run: a classifier to train."""

    arm: Arm
    arch: str                           # the architecture's role
    architecture: Architecture
    recipe: Recipe
    replicate: int
    seed: int
    root_seed: int
    pools: dict[str, LabelledImages]    # real, and whichever of synthetic and fresh the arm needs
    out: Path
    first_stage: Path | None = None     # weights of stage 1 that another pipeline stage made
    teacher: Path | None = None         # finished weights whose predictions are half of every target
    pretrained: Path = Path()           # where pretrained weights are kept
    piece: Piece = NOTHING_KEPT         # keeps the finished classifier

    def identity(self, sha256_of: dict[str, str]) -> list[Any]:
        """Return all that the result depends on, as JSON values.

        `sha256_of` has the digest of every pool. A teacher is left out: it is trained in the same pipeline stage.
        """
        pools = ["real", *(_MADE_OF[pool] for pool in (self.arm.stage_1, self.arm.stage_2) if pool in _MADE_OF)]
        # A run does not depend on which other runs there are.
        recipe = self.recipe.model_dump(exclude={"optional_arms", "convergence_seeds"})
        return [self.arm.name, self.arch, self.architecture.model_dump(), recipe, self.replicate, self.seed,
                self.root_seed, [sha256_of[pool] for pool in pools],
                self.first_stage and records.sha256(self.first_stage)]


def train_one(task: Task) -> list[dict[str, Any]]:
    """Train one classifier, write its weights, and return its history (rows of records.CLASSIFIER_HISTORY)."""
    if kept := task.piece.read():
        write_weights(task.out, kept[0])
        return kept[1]["history"]
    device, real = prepare_torch(THREADS_PER_RUN), task.pools["real"]
    # Seeds do not depend on the arm: arms are paired by initialisation and, on the same images, by batch order.
    torch.manual_seed(seeds.derive(task.root_seed, "classifier initialisation", task.arch, task.replicate, task.seed))
    network = build(task.architecture, len(real.classes), real.images.shape[1], *mean_and_deviation(real.images))
    if task.architecture.pretrained is not None:
        load_pretrained(network, task.architecture.pretrained, task.pretrained)
    if task.first_stage is not None:
        network.load_state_dict(read_weights(task.first_stage))
    teacher = None
    if task.teacher is not None:
        teacher = read_classifier(task.teacher, task.architecture, len(real.classes), real.images.shape[1])
    history = []
    for number, stage in stages_of(task):
        losses = fit(network, stage, task.recipe, device, teacher)
        history += [dict(arm=task.arm.name, seed=task.seed, stage=number, update=update, train_loss=round(loss, 6))
                    for update, loss in losses]
    task.piece.write(network.state_dict(), dict(history=history))
    write_weights(task.out, network.state_dict())
    return history


def stages_of(task: Task) -> list[tuple[int, TrainingStage]]:
    """Return (number, stage) of every training stage that is left to do."""
    arm, recipe, peak = task.arm, task.recipe, task.architecture.learning_rate

    def stage(number: int, portions: list[Portion], updates: int, ratio: float) -> tuple[int, TrainingStage]:
        order_seed = seeds.derive(task.root_seed, "classifier batches", task.replicate, task.seed, number)
        return number, TrainingStage(portions, updates, peak * ratio, order_seed)

    stages = []
    if arm.stage_1 and task.first_stage is None:
        single = arm.updates in ("P+T", "2(P+T)") and arm.stage_2 is None
        stages.append(stage(1, first_stage(task), updates_of(arm, recipe) if single else recipe.stage_1_updates,
                            single_stage_ratio(recipe) if single else 1.0))
    if arm.stage_2:
        # The lower peak preserves what a first stage has learned; `real_short` starts here, from random weights.
        stages.append(stage(2, second_stage(task), recipe.stage_2_updates,
                            recipe.stage_2_learning_rate_ratio if arm.stage_1 else 1.0))
    return stages


def first_stage(task: Task) -> list[Portion]:
    """Return the batch of stage 1."""
    size, real, arm = task.recipe.batch_size, task.pools["real"], task.arm
    if arm.stage_1 == "joint":
        synthetic = round(size * task.recipe.joint_synthetic_fraction)
        return [Portion(real, size - synthetic, True), Portion(task.pools["synthetic"], synthetic, False)]
    return [Portion(images_of(task, arm.stage_1), size, True, strong=arm.option == "augmented",
                    by_patient=arm.option == "by_patient")]


def second_stage(task: Task) -> list[Portion]:
    """Return the batch of stage 2: real images, and the rehearsed fraction of stage 1's if the recipe has one."""
    size = task.recipe.batch_size
    rehearsed = round(size * task.recipe.rehearsal_fraction) if task.arm.stage_1 else 0
    real = Portion(task.pools["real"], size - rehearsed, True)
    return [real, Portion(images_of(task, task.arm.stage_1), rehearsed, False)] if rehearsed else [real]


def images_of(task: Task, pool: str | None) -> LabelledImages:
    """Return a pool's images: `resampled` draws from the real ones, `permuted_labels` permutes the synthetic labels."""
    if pool == "resampled":
        real = task.pools["real"]
        draw = seeds.generator(task.root_seed, "resampled control", task.replicate)
        return real.select(draw.choice(len(real), size=len(task.pools["synthetic"]), p=class_balanced(real.labels)))
    if pool == "permuted_labels":
        synthetic = task.pools["synthetic"]
        draw = seeds.generator(task.root_seed, "permuted_labels control", task.replicate)
        return replace(synthetic, labels=draw.permutation(synthetic.labels))
    assert pool is not None  # a stage has images
    return task.pools[pool]
