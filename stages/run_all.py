"""Run all stages of a profile one after another, on a machine without DVC.

Bring its outputs and results home, and `dvc commit` takes them over as if the stages had run there.
"""

import argparse
import subprocess
import sys

from synthplanes.command import run
from synthplanes.protocol.arms import TRAINING_STAGES
from synthplanes.protocol.cells import STAGES


def commands(profile: str) -> dict[str, list[str]]:
    """Return the command of every stage, in order, as dvc.yaml has it."""
    scripts = {"protocol": "protocol", **{stage: entry.script for stage, entry in STAGES.items()}}
    return {stage: [f"stages/{script}.py", *(["--stage", stage] if stage in TRAINING_STAGES else []),
                    "--profile", profile] for stage, script in scripts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", required=True, help="a profile of params.yaml")
    for stage, words in commands(parser.parse_args().profile).items():
        print(f"stage {stage}", flush=True)
        if status := subprocess.run([sys.executable, *words]).returncode:
            return status
    return 0


if __name__ == "__main__":
    run(main)
