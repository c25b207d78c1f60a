"""Digest the code of every stage, so that a stage becomes stale when a statement in its reach changes."""

from synthplanes import records
from synthplanes.reproduction.code_digests import stage_digests
from synthplanes.command import run, stage_arguments


def main() -> None:
    arguments = stage_arguments(__doc__, paths=("stages", "source", "out"))
    for script in sorted(arguments.stages.glob("*.py")):
        records.write_json(arguments.out / f"{script.stem}.json", stage_digests(script, arguments.source))


if __name__ == "__main__":
    run(main)
