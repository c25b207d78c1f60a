"""Train the generators of a profile: a denoiser, a guide and a synthetic set for every budget and replicate."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from synthplanes import records
from synthplanes.compute.checkpoints import Checkpoints, Piece, images_sha256
from synthplanes.compute.devices import platform, prepare_torch
from synthplanes.data.packs import write_contact_sheet, write_pack
from synthplanes.data.selection import read_budget
from synthplanes.diffusion.denoiser import read_denoiser, read_early_average, write_denoiser
from synthplanes.diffusion.guide import GuideTask, read_guide, train_guide, write_guide
from synthplanes.diffusion.processes import Processes
from synthplanes.diffusion.sampling import Sampler, list_images
from synthplanes.diffusion.training import Task, train
from synthplanes.protocol.cells import Cell


def train_generators(cell: Cell, processes: Processes) -> None:
    """Train the denoisers; write their weights and histories, generator_curve.csv and cost.json."""
    profile, paths, items, curve = cell.parameters, cell.paths, [], []
    device, threads = prepare_torch(threads=1), profile.compute.threads
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, threads))
    for budget, replicate in _generators(cell):
        task = Task(read_budget(paths.prepared, budget, replicate, "train"),
                    read_budget(paths.prepared, budget, replicate, "validation"), profile.train_diffusion,
                    profile.replication.root_seed, replicate, threads, f"{profile.prepare.source}, {budget}",
                    paths.pretrained)
        trained = train(task, device, checkpoints.piece(task.identity()), processes)
        curve += [dict(budget=budget, replicate=replicate, **row) for row in trained.history.to_dict("records")]
        items.append(records.cost_item("generator", budget=budget, trained=trained.training_image_passes,
                                       forward=trained.forward_image_passes))
        if processes.first:
            folder = paths.replicate("generator", budget, replicate)
            write_denoiser(folder, trained.configuration, trained.tensors, trained.early)
            records.write_table(folder / "history.csv", trained.history, records.GENERATOR_HISTORY)
    processes.wait()  # while a process still reads states, none may be deleted
    if processes.first:
        records.write_table(paths.metrics / "generator_curve.csv", records.GENERATOR_CURVE.frame(curve),
                            records.GENERATOR_CURVE)
        records.write_cost(cell.out, items)
        checkpoints.prune()


def train_guides(cell: Cell) -> None:
    """Train the noise-aware classifiers that guide sampling; write their weights and cost.json."""
    profile, paths, items = cell.parameters, cell.paths, []
    device = prepare_torch(profile.compute.threads)
    checkpoints = Checkpoints(cell.checkpoints, cell.code,
                              platform(profile.compute.instructions, profile.compute.threads))
    for budget, replicate in _generators(cell):
        task = GuideTask(read_budget(paths.prepared, budget, replicate, "train"), profile.train_guide,
                         profile.train_diffusion, profile.replication.root_seed, replicate)
        generator = paths.replicate("generator", budget, replicate)
        piece = checkpoints.piece(images_sha256(task.train_set), generator, task.parameters.model_dump(),
                                  task.diffusion.model_dump(), task.root_seed, replicate)
        tensors, description = piece.read() or train_guide(task, read_denoiser(generator), device)
        piece.write(0, tensors, description)
        write_guide(paths.replicate("guide", budget, replicate), tensors, description)
        n = task.parameters.updates * task.parameters.batch_size
        items.append(records.cost_item("guide", budget=budget, trained=n,
                                       forward=n if task.parameters.input == "denoised_estimate" else 0))
    records.write_cost(cell.out, items)
    checkpoints.prune()


def draw_synthetic_sets(cell: Cell, processes: Processes) -> None:
    """Draw the synthetic sets; write their packs and contact sheets, and cost.json."""
    profile, paths, items = cell.parameters, cell.paths, []
    device = prepare_torch(threads=1)
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, threads=1),
                              profile.sample.model_dump(exclude={"images_per_class"}))
    for budget, replicate in _generators(cell):
        train_set = read_budget(paths.prepared, budget, replicate, "train")
        generator, guide = (paths.replicate(kind, budget, replicate) for kind in ("generator", "guide"))
        denoiser, helper, origin = read_denoiser(generator), None, records.sha256(generator)
        if profile.sample.guidance == "classifier":
            helper, origin = read_guide(guide), records.sha256(generator, guide)
        elif profile.sample.guidance == "auto":
            helper = read_early_average(generator)
        sampler = Sampler(denoiser, helper, profile.sample, device, cell.processes)
        index = list_images(train_set, denoiser.configuration.scanners, profile.sample.images_per_class, budget,
                            replicate, profile.replication.root_seed)
        drawn = sampler.draw(index, partial(_batch_piece, checkpoints, origin), processes)
        if drawn is None:
            continue
        folder = paths.replicate("synthetic", budget, replicate)
        write_pack(folder, drawn.images, index, records.SYNTHETIC)
        write_contact_sheet(folder / "grid.png", drawn.images, index["label"].to_numpy(), train_set.classes)
        items.append(records.cost_item("sampling", budget=budget, trained=drawn.gradient_image_passes,
                                       forward=drawn.forward_image_passes))
    if processes.first:
        records.write_cost(cell.out, items)
        checkpoints.prune()


def _batch_piece(checkpoints: Checkpoints, origin: str, rows: pd.DataFrame) -> Piece:
    """Return the piece of one batch of a synthetic set; `origin` is the digest of the generator and its guide."""
    return checkpoints.piece(origin, rows.to_dict("list"))


def _generators(cell: Cell) -> Iterator[tuple[str, int]]:
    """Yield (budget, replicate) of every generator, those of the scarcest budget first."""
    for budget in cell.parameters.budgets_by_size():
        for replicate in range(cell.parameters.replication.generators):
            yield budget, replicate
