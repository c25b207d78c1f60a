"""Read a source, apply the guards, and pack its images by role, with the budgets' splits."""

from synthplanes.protocol import counted_work
from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.data.preparation.guards import Policies
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.opening import open_source
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("raw", "simulated", "out", "counts"))
    profile = read_profile(arguments.profile)
    parameters = profile.prepare
    source = open_source(parameters.source, arguments.raw, arguments.simulated, parameters.source_options)
    counts = prepare(source, parameters.image_size, Policies(**parameters.guards.model_dump()),
                     profile.used_budgets(), parameters.validation_fraction, profile.replication.generators,
                     profile.replication.root_seed, arguments.out, [tuple(box) for box in parameters.masked_boxes],
                     parameters.cross_validation)
    records.write_json(arguments.counts, counts)
    print("what a run of all stages of this profile costs:", *counted_work.forecast(profile, len(counts["classes"])), sep="\n")


if __name__ == "__main__":
    run(main)
