"""Train the classifiers of a pipeline stage, for every budget, architecture, arm, replicate and seed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.classification.pretrained import pretrained_on
from synthplanes.classification.runs import THREADS_PER_RUN, Task, train_one
from synthplanes.compute.checkpoints import Checkpoints, images_sha256
from synthplanes.compute.devices import platform
from synthplanes.compute.parallel import run_parallel
from synthplanes.data.selection import LabelledImages, read_budget, read_pools
from synthplanes.progress import Progress
from synthplanes.protocol.arms import arms_of, needed_by, updates_of
from synthplanes.protocol.cells import Cell

VALIDATION_LOOKS = 1  # evaluations on validation images per classifier of any arm: after training, selecting nothing


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
