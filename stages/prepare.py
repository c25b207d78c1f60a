"""Read a source, apply the guards, and pack its images by role, with the budgets' splits."""

import sys

from synthplanes import records
from synthplanes.command import run, stage_cell
from synthplanes.data.preparation.preparing import prepare
from synthplanes.data.sources.opening import open_source
from synthplanes.protocol import counted_work
from synthplanes.protocol.profiles import read_profile
from synthplanes.protocol.rules import too_few_repetitions


def main() -> None:
    cell = stage_cell(__doc__, "prepare")
    source = open_source(cell.parameters.prepare, cell.paths.artifact("raw"), cell.paths.artifact("simulated"))
    data = prepare(source, cell.parameters, cell.out)
    records.write_json(cell.paths.metrics / "data.json", data)
    profile = read_profile(cell.profile)
    if reason := too_few_repetitions(profile):
        print(f"note: the verdict will be refused: {reason}.", file=sys.stderr)
    print("what a run of all stages of this profile costs:", *counted_work.forecast(profile, len(data["classes"])),
          sep="\n")


if __name__ == "__main__":
    run(main)
