"""Train the noise-aware classifier that guides sampling, once per replicate."""

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_budget
from synthplanes.compute.devices import prepare_torch
from synthplanes.diffusion.denoiser import read_denoiser
from synthplanes.diffusion.guide import train_guide, write_guide
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", paths=("prepared", "generator", "out"))
    profile = read_profile(arguments.profile)
    if arguments.budget not in profile.used_budgets():
        return records.write_cost(arguments.out, [])

    device, items, parameters = prepare_torch(profile.compute.threads), [], profile.train_guide
    for replicate in range(profile.replication.generators):
        train_set = read_budget(arguments.prepared, arguments.budget, replicate, "train")
        denoiser = read_denoiser(arguments.generator / f"r{replicate}")
        tensors, description = train_guide(train_set, denoiser, parameters, profile.train_diffusion,
                                           profile.replication.root_seed, replicate, device)
        write_guide(arguments.out / f"r{replicate}", tensors, description)
        seen = parameters.updates * parameters.batch_size
        items.append(records.cost_item("guide", replicate=replicate, trained=seen,
                                       forward=seen if description["sees_estimate"] else 0))
    records.write_cost(arguments.out, items)


if __name__ == "__main__":
    run(main)
