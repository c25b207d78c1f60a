"""Draw the synthetic set of one budget, once per replicate."""

from importlib.metadata import version

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.data.preparation.contact_sheet import write_contact_sheet
from synthplanes.data.packs import write_pack
from synthplanes.data.selection import read_budget
from synthplanes.compute.devices import prepare_torch
from synthplanes.diffusion.denoiser import read_denoiser, read_early_average
from synthplanes.diffusion.guide import read_guide
from synthplanes.diffusion.processes import joined
from synthplanes.diffusion.sampling import draw_together, plan
from synthplanes.protocol.profiles import read_profile
from synthplanes.compute.checkpoints import Scratch


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget",
                                paths=("prepared", "generator", "guide", "code", "scratch", "out"))
    profile = read_profile(arguments.profile)
    if arguments.budget not in profile.used_budgets():
        return records.write_cost(arguments.out, [])

    device = prepare_torch(threads=1)
    with joined(device) as processes:
        draw_all(arguments, profile, device, processes)


def draw_all(arguments, profile, device, processes) -> None:
    items = []
    scratch = Scratch(arguments.scratch, arguments.code, arguments.prepared / "development",
                      arguments.prepared / "splits.csv", arguments.generator, arguments.guide, arguments.budget,
                      profile.sample.model_dump(), profile.replication.root_seed, version("torch"))
    for replicate in range(profile.replication.generators):
        train_set = read_budget(arguments.prepared, arguments.budget, replicate, "train")
        denoiser = read_denoiser(arguments.generator / f"r{replicate}")
        index = plan(train_set, denoiser.configuration.scanners, profile.sample, arguments.budget, replicate,
                     profile.replication.root_seed)
        guide = (read_early_average(arguments.generator / f"r{replicate}") if profile.sample.guidance == "auto"
                 else read_guide(arguments.guide / f"r{replicate}"))

        drawn = draw_together(processes, denoiser, guide, index, profile.sample, device, profile.compute.processes,
                              scratch, train_set)
        if drawn is None:
            continue
        images, forward, gradient = drawn
        folder = arguments.out / f"r{replicate}"
        write_pack(folder, images, index)
        write_contact_sheet(folder / "grid.png", images, index["label"], train_set.classes)
        items.append(records.cost_item("sampling", replicate=replicate, forward=forward, trained=gradient))
    if processes.first:
        records.write_cost(arguments.out, items)
        scratch.clear()


if __name__ == "__main__":
    run(main)
