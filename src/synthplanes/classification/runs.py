"""All classifiers of one stage cell (profile, budget, architecture): what each trains on, and where it is kept."""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from synthplanes import records, seeds
from synthplanes.protocol.arms import Arm, arms_of, needed_by, seeds_of, single_stage_ratio, updates_of
from synthplanes.classification.fitting import Portion, fit
from synthplanes.classification.networks import build, load_weights
from synthplanes.classification.starting_weights import begin_from
from synthplanes.data.images import mean_and_deviation
from synthplanes.data.selection import LabelledImages
from synthplanes.compute.devices import prepare_torch
from synthplanes.progress import Progress
from synthplanes.protocol.profiles import Profile
from synthplanes.compute.checkpoints import NothingKept
from synthplanes.protocol.config import Architecture, Recipe
from synthplanes.compute.parallel import side_by_side
from synthplanes.compute.weights import write_weights

THREADS_PER_RUN = 1  # runs go side by side; one thread each wastes nothing and fixes the bytes


@dataclass(frozen=True)
class Task:
    """One classifier to train."""

    arm: Arm
    seed: int
    replicate: int
    arch: str
    architecture: Architecture
    recipe: Recipe
    root_seed: int
    pools: dict[str, LabelledImages]  # real, and whichever of synthetic and fresh the arm needs
    start: Path | None                # stage-1 weights that an earlier pipeline stage made
    out: Path
    scratch: NothingKept = NothingKept()  # where a finished classifier waits for the others of its cell
    teacher: Path | None = None       # finished weights that give half of every target
    adopted: Path = Path()            # where the weights lie that an architecture may begin from

    @property
    def name(self) -> str:
        return f"r{self.replicate}-{self.arm.name}-s{self.seed}"


def train_cell(stage: str, profile: Profile, arch: str, pools: list[dict[str, LabelledImages]], out: Path,
               pretrained: Path | None = None, scratch: NothingKept = NothingKept(), adopted: Path = Path()
               ) -> dict[str, int]:
    """Train every arm of `stage` for one architecture; `pools[r]` are replicate r's image sets.

    Classifiers that `scratch` holds are not trained again. Writes r<k>/<arm>-s<seed>.safetensors and
    r<k>/history.csv; returns the updates of every arm.
    """
    recipe = profile.recipe
    arms = arms_of(stage, arch, recipe)
    architecture = profile.used_archs()[arch]
    folder_of = [Path(out).resolve() / f"r{replicate}" for replicate in range(profile.replication.generators)]
    tasks = [Task(arm, seed, replicate, arch, architecture, recipe, profile.replication.root_seed,
                  pools[replicate],
                  pretrained and pretrained.resolve() / f"r{replicate}" / f"{needed_by(arm)}-s{seed}.safetensors",
                  folder_of[replicate] / f"{arm.name}-s{seed}.safetensors", scratch,
                  folder_of[replicate] / f"{arm.teacher}-s{seed}.safetensors" if arm.teacher else None,
                  adopted.resolve())
             for replicate in range(profile.replication.generators) for arm in arms
             for seed in seeds_of(arm, recipe, profile.replication.seeds)]
    progress = Progress(f"{stage}, {architecture.model}", len(tasks), "classifiers")
    progress(0)
    rows: list[list[dict]] = [[] for _ in folder_of]
    taught = [task for task in tasks if task.teacher]  # after all others, among which their teachers are
    tasks = [task for task in tasks if not task.teacher] + taught
    runs = chain(side_by_side(train_one, tasks[:len(tasks) - len(taught)], profile.compute.processes),
                 side_by_side(train_one, taught, profile.compute.processes))
    for done, (task, history) in enumerate(zip(tasks, runs), start=1):
        rows[task.replicate] += history
        progress(done)
    for folder, history in zip(folder_of, rows):
        records.write_table(folder / "history.csv", records.Table.of_rows(records.CLASSIFIER_HISTORY, history))
    return {arm.name: updates_of(arm, recipe) for arm in arms}


def train_one(task: Task) -> list[dict]:
    """Train one classifier, write its weights, return its history rows (records.CLASSIFIER_HISTORY)."""
    if kept := task.scratch.read_state(task.name):
        write_weights(task.out, kept[0])
        return kept[1]["history"]
    device = prepare_torch(THREADS_PER_RUN)
    recipe, real = task.recipe, task.pools["real"]
    # Seeds know nothing of the arm: arms are paired by initialisation and, on the same images, by batch order.
    torch.manual_seed(seeds.derive(task.root_seed, "classifier initialisation", task.arch, task.replicate, task.seed))
    network = build(task.architecture, len(real.classes), real.images.shape[1], *mean_and_deviation(real.images))
    if task.architecture.start is not None:
        begin_from(network, task.architecture.start, task.adopted)
    peak = task.architecture.learning_rate
    stages = []
    if task.arm.stage_1 and task.start is None:
        single = task.arm.length in ("P+T", "2(P+T)") and task.arm.stage_2 is None
        stages.append((1, portions_of(task, task.arm.stage_1),
                       updates_of(task.arm, recipe) if single else recipe.stage_1_updates,
                       peak * (single_stage_ratio(recipe) if single else 1.0)))
    if task.start is not None:
        network.load_state_dict(load_weights(task.start))
    if task.arm.stage_2:
        # The lower peak is for what a first stage has learned; `real_short` begins here, from random weights.
        stages.append((2, second_stage(task), recipe.stage_2_updates,
                       peak * (recipe.stage_2_learning_rate_ratio if task.arm.stage_1 else 1.0)))
    teacher = None
    if task.teacher is not None:
        teacher = build(task.architecture, len(real.classes), real.images.shape[1])
        teacher.load_state_dict(load_weights(task.teacher))
    history = []
    for number, portions, updates, stage_peak in stages:
        order_seed = seeds.derive(task.root_seed, "classifier batches", task.replicate, task.seed, number)
        losses = fit(network, portions, updates, stage_peak, recipe, order_seed, device, teacher)
        history += [dict(arm=task.arm.name, seed=task.seed, stage=number, update=update,
                         train_loss=round(loss, 6)) for update, loss in losses]
    task.scratch.write_state(task.name, 0, network.state_dict(), dict(history=history))
    write_weights(task.out, network.state_dict())
    return history


def portions_of(task: Task, pool: str) -> list[Portion]:
    """The batch of a stage that trains on `pool`."""
    size, real = task.recipe.batch_size, task.pools["real"]
    if pool == "mixed":
        synthetic = round(size * task.recipe.mixed_synthetic_share)
        return [Portion(real, size - synthetic, True), Portion(task.pools["synthetic"], synthetic, False)]
    return [Portion(images_of(task, pool), size, True, strong=task.arm.rival == "augmented",
                    by_patient=task.arm.rival == "by_patient")]


def second_stage(task: Task) -> list[Portion]:
    """Real images, and a rehearsed share of the first stage's ones where the recipe asks for it."""
    size = task.recipe.batch_size
    rehearsed = round(size * task.recipe.rehearsal_share) if task.arm.stage_1 else 0
    real = Portion(task.pools["real"], size - rehearsed, True)
    return [real, Portion(images_of(task, task.arm.stage_1), rehearsed, False)] if rehearsed else [real]


def images_of(task: Task, pool: str) -> LabelledImages:
    """The images behind a pool's name: `null` resamples the real ones, `poison` permutes synthetic labels."""
    if pool == "null":
        real = task.pools["real"]
        draw = seeds.generator(task.root_seed, "null control", task.replicate)
        chances = np.bincount(real.labels)[real.labels].astype(float) ** -1
        rows = draw.choice(len(real), size=len(task.pools["synthetic"]), p=chances / chances.sum())
        return real.select(rows)
    if pool == "poison":
        synthetic = task.pools["synthetic"]
        draw = seeds.generator(task.root_seed, "poison control", task.replicate)
        return replace(synthetic, labels=draw.permutation(synthetic.labels))
    return task.pools[pool]
