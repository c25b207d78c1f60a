"""Digest the code of pieces of evidence, as the stage `protocol` does for the pipeline's stages.

    python tests/benchmarks/evidence_code.py calibration controls

Writes artifacts/evidence/NAME.json: a SHA-256 of each module that tests/benchmarks/NAME.py reaches, and one of the
locked packages. A changed statement makes the evidence stale; a better comment does not.
"""

import argparse
from pathlib import Path

from synthplanes import records
from synthplanes.command import run
from synthplanes.reproduction.code_digests import stage_digests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    environment = records.sha256(Path("requirements.lock"))
    for name in parser.parse_args().names:
        code = stage_digests(Path("tests/benchmarks") / f"{name}.py", Path("src"))
        records.write_json(Path("artifacts/evidence") / f"{name}.json", {"code": code, "environment": environment})


if __name__ == "__main__":
    run(main)
