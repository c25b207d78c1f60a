"""Simulate the phantom: frames, their table and their latents (an empty folder for real sources)."""

import hashlib

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.phantom import VERSION, Phantom, simulate
from synthplanes.progress import Progress
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("out",))
    profile = read_profile(arguments.profile)
    if profile.simulate is None:
        return records.write_json(arguments.out / "phantom.json", {"version": None, "sha256_of_frames": None})

    settings = Phantom(**profile.simulate.model_dump(), root_seed=profile.replication.root_seed,
                       workers=profile.compute.processes)
    progress = Progress("phantom", 0, "images")

    def show(done: int, total: int) -> None:
        progress.total = total
        progress(done)

    frames, table, latents = simulate(settings, show)
    records.write_array(arguments.out / "frames.npy", frames)
    records.write_table(arguments.out / "table.csv", table)
    records.write_table(arguments.out / "latents.csv", latents)
    records.write_json(arguments.out / "phantom.json", {
        "version": VERSION, "sha256_of_frames": hashlib.sha256(frames.tobytes()).hexdigest()})


if __name__ == "__main__":
    run(main)
