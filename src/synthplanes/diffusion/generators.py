"""Train the generators of a profile: a denoiser, a guide and a synthetic set for every budget and replicate."""

from functools import partial
from itertools import product

from synthplanes import records
from synthplanes.compute.checkpoints import Checkpoints, images_sha256
from synthplanes.compute.devices import platform, prepare_torch
from synthplanes.compute.weights import write_model, write_weights
from synthplanes.data.packs import write_contact_sheet, write_pack
from synthplanes.data.selection import EARLIER, earlier_rows, read_budget
from synthplanes.diffusion.denoiser import read_denoiser, write_denoiser
from synthplanes.diffusion.guidance import train_guide
from synthplanes.diffusion.parts import Processes
from synthplanes.diffusion.sampling import Sampler, list_images, read_sampler
from synthplanes.diffusion.training import HELD_OUT_LEVELS, Task, train
from synthplanes.protocol.cells import Cell


def train_generators(cell: Cell, processes: Processes) -> None:
    """Train the denoisers; write their weights, those of earlier moments, their histories and cost.json."""
    profile, paths, items = cell.parameters, cell.paths, []
    device, threads = prepare_torch(threads=1), profile.compute.threads
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, threads))
    for budget, replicate in product(profile.budgets_by_size(), range(profile.replication.generators)):
        task = Task(read_budget(paths.prepared, budget, replicate, "train"),
                    read_budget(paths.prepared, budget, replicate, "validation"), profile.train_diffusion,
                    profile.replication.root_seed, replicate, threads, f"{profile.prepare.source}, {budget}",
                    paths.pretrained)
        trained = train(task, device, checkpoints.piece(task.identity()), processes)
        items.append(records.cost_item("generator", budget=budget, trained=trained.seen,
                                       forward=HELD_OUT_LEVELS * len(task.looked_at) * len(trained.history)))
        if processes.rank == 0:
            folder = paths.replicate("generator", budget, replicate)
            write_denoiser(folder, trained.denoiser.configuration, trained.weights, trained.early)
            for seen, tensors in trained.earlier.items():
                write_weights(folder / EARLIER / f"{seen}.safetensors", tensors)
            records.write_table(folder / "history.csv", records.GENERATOR_HISTORY.frame(trained.history),
                                records.GENERATOR_HISTORY)
    processes.wait()  # while a process still reads states, none may be deleted
    if processes.rank == 0:
        records.write_cost(cell.out, items)
        checkpoints.prune()


def train_guides(cell: Cell) -> None:
    """Train the noise-aware classifiers that guide sampling, where any does; write their weights and cost.json."""
    profile, paths, items = cell.parameters, cell.paths, []
    threads, root_seed, parameters = profile.compute.threads, profile.replication.root_seed, profile.train_guide
    device = prepare_torch(threads)
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, threads))
    budgets = profile.budgets_by_size() if profile.sample.guidance == "classifier" else ()
    for budget, replicate in product(budgets, range(profile.replication.generators)):
        train_set = read_budget(paths.prepared, budget, replicate, "train")
        generator = paths.replicate("generator", budget, replicate)
        piece = checkpoints.piece(images_sha256(train_set), generator, parameters.model_dump(),
                                  profile.train_diffusion.model_dump(), root_seed, replicate)
        tensors, description = piece.read() or train_guide(train_set, read_denoiser(generator).to(device), parameters,
                                                           profile.train_diffusion, root_seed, replicate)
        piece.write(tensors, description)
        write_model(paths.replicate("guide", budget, replicate), description, tensors)
        n = parameters.updates * parameters.batch_size
        items.append(records.cost_item("guide", budget=budget, trained=n,
                                       forward=n if parameters.input == "denoised_estimate" else 0))
    records.write_cost(cell.out, items)
    checkpoints.prune()


def draw_synthetic_sets(cell: Cell, processes: Processes) -> None:
    """Draw the synthetic sets; write their packs and contact sheets, and cost.json."""
    profile, paths, items = cell.parameters, cell.paths, []
    device = prepare_torch(threads=1)
    checkpoints = Checkpoints(cell.checkpoints, cell.code, platform(profile.compute.instructions, threads=1),
                              profile.sample.model_dump(exclude={"images_per_class"}))
    for budget, replicate in product(profile.budgets_by_size(), range(profile.replication.generators)):
        train_set = read_budget(paths.prepared, budget, replicate, "train")
        generator, guide = (paths.replicate(kind, budget, replicate) for kind in ("generator", "guide"))
        sampler = read_sampler(generator, guide, profile.sample, device, cell.processes)
        origin = records.sha256(*([generator, guide] if profile.sample.guidance == "classifier" else [generator]))
        index = list_images(train_set, sampler.denoiser.configuration.scanners, profile.sample.images_per_class, budget,
                            replicate, profile.replication.root_seed)
        drawn = sampler.draw(index, partial(checkpoints.piece, origin), processes)
        if drawn is None:
            continue
        folder = paths.replicate("synthetic", budget, replicate)
        write_pack(folder, drawn.images, index, records.SYNTHETIC)
        write_contact_sheet(folder / "grid.png", drawn.images, index["label"].to_numpy(), train_set.classes)
        passes = drawn.passes
        few, unguided = earlier_rows(index), profile.sample.model_copy(update=dict(guidance="none"))
        for weights in sorted((generator / EARLIER).iterdir()):
            earlier = Sampler(read_denoiser(generator, f"{EARLIER}/{weights.name}"), None, unguided, device,
                              cell.processes).draw(few, partial(checkpoints.piece, origin, weights.stem))
            assert earlier is not None  # one process draws them alone
            records.write_array(folder / EARLIER / f"{weights.stem}.npy", earlier.images)
            passes += earlier.passes
        items.append(records.cost_item("sampling", budget=budget, trained=passes["trained"], forward=passes["forward"]))
    if processes.rank == 0:
        records.write_cost(cell.out, items)
        checkpoints.prune()
