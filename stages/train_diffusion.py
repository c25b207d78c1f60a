"""Train the class-conditional denoiser of one budget, once per replicate."""

from importlib.metadata import version

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_budget
from synthplanes.compute.devices import prepare_torch
from synthplanes.diffusion.denoiser import write_denoiser
from synthplanes.diffusion.processes import joined
from synthplanes.diffusion.training import train
from synthplanes.protocol.profiles import read_profile
from synthplanes.compute.checkpoints import Scratch


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", paths=("prepared", "code", "scratch", "adopted", "out"))
    profile = read_profile(arguments.profile)
    if arguments.budget not in profile.used_budgets():
        return records.write_cost(arguments.out, [])

    device = prepare_torch(threads=1)
    with joined(device) as processes:
        train_all(arguments, profile, device, processes)


def train_all(arguments, profile, device, processes) -> None:
    items = []
    scratch = Scratch(arguments.scratch, arguments.code, arguments.prepared / "development",
                      arguments.prepared / "splits.csv", arguments.budget, profile.train_diffusion.model_dump(),
                      profile.replication.root_seed, profile.compute.threads, version("torch"))
    for replicate in range(profile.replication.generators):
        train_set = read_budget(arguments.prepared, arguments.budget, replicate, "train")
        held_out = read_budget(arguments.prepared, arguments.budget, replicate, "validation")
        trained = train(train_set, held_out, profile.train_diffusion, profile.replication.root_seed, replicate, device,
                        profile.compute.threads, scratch, f"{profile.prepare.source}, {arguments.budget}",
                        arguments.adopted, processes)
        if not processes.first:
            continue
        folder = arguments.out / f"r{replicate}"
        write_denoiser(folder, trained.configuration, trained.tensors, trained.early)
        records.write_table(folder / "history.csv", trained.history)
        items.append(records.cost_item("generator", replicate=replicate, trained=trained.training_image_passes,
                                       forward=trained.forward_image_passes))
    processes.wait()  # nobody may still look for a state
    if processes.first:
        records.write_cost(arguments.out, items)
        scratch.clear()


if __name__ == "__main__":
    run(main)
