"""Write what each stage depends on besides its inputs: its parameters, its code and the locked packages."""

import argparse
from pathlib import Path

from synthplanes import records
from synthplanes.classification.trial import try_architectures
from synthplanes.command import run
from synthplanes.protocol.cells import STAGES, Paths, protocol_file
from synthplanes.protocol.profiles import read_profile
from synthplanes.reproduction.code_digests import stage_digests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True, help="a profile of params.yaml")
    name = parser.parse_args().profile
    profile, environment = read_profile(name), records.sha256(Path("requirements.lock"))
    try_architectures(profile, Paths(name))
    for stage, entry in STAGES.items():
        code = stage_digests(Path("stages") / f"{entry.script}.py", Path("src"))
        records.write_json(Paths(name).protocol_file(stage), protocol_file(profile, stage, code, environment))


if __name__ == "__main__":
    run(main)
