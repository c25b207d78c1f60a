"""Simulate the phantom: frames, their table and their latents; for real sources, write an empty note."""

import hashlib

from synthplanes import records
from synthplanes.command import run, stage_cell
from synthplanes.phantom.simulation import LATENTS, VERSION, simulate


def main() -> None:
    cell = stage_cell(__doc__, "simulate")
    settings = cell.parameters.simulate
    note: dict[str, str | None] = {"version": None, "sha256_of_frames": None}
    if settings is not None:
        frames, table, latents = simulate(settings, cell.parameters.replication.root_seed, cell.processes)
        records.write_array(cell.out / "frames.npy", frames)
        records.write_table(cell.out / "table.csv", table, records.SOURCE)
        records.write_table(cell.out / "latents.csv", latents, LATENTS)
        note = {"version": VERSION, "sha256_of_frames": hashlib.sha256(frames.tobytes()).hexdigest()}
    records.write_json(cell.out / "phantom.json", note)


if __name__ == "__main__":
    run(main)
