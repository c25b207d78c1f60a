"""Train the classifiers of a pipeline stage, each with the images, initial weights and updates of its arm."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from synthplanes import records, seeds
from synthplanes.classification.fitting import Portion, TrainingStage, fit
from synthplanes.classification.networks import build, read_classifier
from synthplanes.classification.pretrained import load_pretrained, pretrained_on
from synthplanes.compute.checkpoints import NOTHING_KEPT, Checkpoints, Piece, images_sha256
from synthplanes.compute.devices import platform, prepare_torch
from synthplanes.compute.draws import class_balanced
from synthplanes.compute.parallel import run_parallel
from synthplanes.compute.weights import read_weights, write_weights
from synthplanes.data.images import mean_and_deviation
from synthplanes.data.selection import LabelledImages, read_budget, read_pools
from synthplanes.progress import Progress
from synthplanes.protocol.arms import Arm, arms_of, needed_by, single_stage_ratio, updates_of
from synthplanes.protocol.cells import Cell
from synthplanes.protocol.config import Architecture, Recipe

VALIDATION_LOOKS = 1  # evaluations on validation images per classifier of any arm: after training, selecting nothing
_JOINED = {"joint": "synthetic", "joint_fresh": "fresh", "joint_real": "real"}  # what joins the real images
THREADS_PER_RUN = 1  # runs are trained in parallel; one thread each is efficient and reproducible


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
        # What is neither real nor fresh depends on the synthetic images: `resampled` on their number alone.
        pools = ["real", *("fresh" if pool in ("fresh", "joint_fresh") else "synthetic"
                           for pool in (self.arm.stage_1, self.arm.stage_2)
                           if pool not in (None, "real", "joint_real"))]
        # A run does not depend on which other runs there are.
        recipe = self.recipe.model_dump(exclude={"optional_arms"})
        return [self.arm.name, self.arch, self.architecture.model_dump(), recipe, self.replicate, self.seed,
                self.root_seed, [sha256_of[pool] for pool in pools],
                self.first_stage and records.sha256(self.first_stage)]


def train_classifiers(cell: Cell) -> None:
    """Train every classifier of a stage; write weights and histories per budget and architecture, cell.json, cost.json.

    Classifiers with a finished checkpoint are not trained again.
    """
    profile, paths = cell.parameters, cell.paths
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, THREADS_PER_RUN))
    arms = {arch: arms_of(cell.stage, arch, profile.recipe) for arch in profile.archs}
    described = {arch: {"model": architecture.model,
                        "pretrained_on": pretrained_on(architecture.pretrained, paths.pretrained),
                        "arms": {arm.name: updates_of(arm, profile.recipe) for arm in arms[arch]}}
                 for arch, architecture in profile.archs.items()}
    for budget in profile.budgets_by_size():
        # The stage `baseline` reads no synthetic image.
        pools = [{"real": read_budget(paths.prepared, budget, replicate, "train")} if cell.stage == "baseline"
                 else read_pools(paths, budget, replicate) for replicate in range(profile.replication.generators)]
        tasks = list(_tasks(cell, budget, pools, checkpoints))
        histories: dict[tuple[str, int], list[dict[str, Any]]] = {
            (arch, replicate): [] for arch in profile.archs for replicate in range(len(pools))}
        progress = Progress(f"{cell.stage}, {budget}", len(tasks), "classifiers")
        progress(0)
        # Distilled classifiers come last, since their teachers are among the others.
        groups = [task for task in tasks if not task.teacher], [task for task in tasks if task.teacher]
        trained = chain.from_iterable(run_parallel(train_one, group, cell.processes) for group in groups)
        for done, (task, history) in enumerate(zip(chain(*groups), trained, strict=True), start=1):
            histories[task.arch, task.replicate] += history
            progress(done)
        for (arch, replicate), rows in histories.items():
            records.write_table(paths.classifiers(cell.stage, budget, arch) / f"r{replicate}" / "history.csv",
                                records.CLASSIFIER_HISTORY.frame(rows), records.CLASSIFIER_HISTORY)
    records.write_json(cell.out / "cell.json", {"stage": cell.stage, "profile": cell.profile,
                                                "validation_looks": VALIDATION_LOOKS, "archs": described})
    records.write_cost(cell.out, [profile.training_cost(arm, budget, arch) for budget in profile.budgets_by_size()
                                  for arch in profile.archs for arm in arms[arch]])
    checkpoints.prune()


def _tasks(cell: Cell, budget: str, pools: list[dict[str, LabelledImages]], checkpoints: Checkpoints) -> Iterator[Task]:
    """Yield the stage's runs at one budget, a teacher before those that learn from it."""
    profile, paths = cell.parameters, cell.paths
    sha256_of = [{name: images_sha256(images) for name, images in sets.items()} for sets in pools]
    identities: dict[tuple[str, str, int, int], list[Any]] = {}
    for arch, architecture in profile.archs.items():
        for arm in arms_of(cell.stage, arch, profile.recipe):
            for replicate, seed in profile.runs_of(arm):
                def weights(stage: str, name: str) -> Path:
                    return paths.weights(stage, budget, arch, replicate, name, seed).resolve()  # noqa: B023
                task = Task(
                    arm, arch, architecture, profile.recipe, replicate, seed, profile.replication.root_seed,
                    pools[replicate], weights(cell.stage, arm.name), pretrained=paths.pretrained.resolve(),
                    first_stage=weights("pretrain", str(needed_by(arm))) if cell.stage == "finetune" else None,
                    teacher=weights(cell.stage, arm.teacher) if arm.teacher else None)
                identity = task.identity(sha256_of[replicate])
                identities[arch, arm.name, replicate, seed] = identity
                teacher = identities[arch, arm.teacher, replicate, seed] if arm.teacher else None
                yield replace(task, piece=checkpoints.piece(identity, teacher))


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
    arm, recipe = task.arm, task.recipe

    def stage(number: int, updates: int, ratio: float) -> tuple[int, TrainingStage]:
        order_seed = seeds.derive(task.root_seed, "classifier batches", task.replicate, task.seed, number)
        return number, TrainingStage(_portions(task, number), updates, task.architecture.learning_rate * ratio,
                                     order_seed)

    stages, times = [], 2 if arm.updates == "2(P+T)" else 1
    if arm.stage_1 and task.first_stage is None:
        single = arm.stage_2 is None and arm.updates != "P"
        stages.append(stage(1, updates_of(arm, recipe) if single else times * recipe.stage_1_updates,
                            single_stage_ratio(recipe) if single else 1.0))
    if arm.stage_2:
        # The lower peak preserves what a first stage has learned; `real_short` starts here, from random weights.
        stages.append(stage(2, times * recipe.stage_2_updates,
                            recipe.stage_2_learning_rate_ratio if arm.stage_1 else 1.0))
    return stages


def _portions(task: Task, number: int) -> list[Portion]:
    """Return what a batch of a stage holds: one pool or, in a joint arm and with rehearsal, real images and others."""
    arm, recipe, size = task.arm, task.recipe, task.recipe.batch_size
    if number == 1 and arm.stage_1 not in _JOINED:
        return [Portion(images_of(task, arm.stage_1), size, True, strong=arm.option == "augmented",
                        by_patient=arm.option == "by_patient")]
    pool, fraction = ((_JOINED[str(arm.stage_1)], recipe.joint_synthetic_fraction) if number == 1
                      else (arm.stage_1, recipe.rehearsal_fraction))
    others = round(size * fraction) if pool else 0
    real = Portion(task.pools["real"], size - others, True)
    return [real, Portion(images_of(task, pool), others, False)] if others else [real]


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
