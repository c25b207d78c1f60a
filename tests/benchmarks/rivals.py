"""What else the same real images give at equal updates: the rivals beside `real`, without any generator.

    python tests/benchmarks/rivals.py [--profile phantom] [--root-seed 1] [--seeds 3]

On a population of its own root seed, so that the profile's test rows stay unopened, the profile's scarce budget trains
`real` and its rivals (a strong augmentation policy; patients equally likely; half of every target from `real` of the
same seed) with the profile's recipe, on every architecture. Balanced accuracy is on the population's own test
patients. Writes `rivals` into metrics/benchmarks.json: about 15 minutes on two CPU cores.
"""

import argparse
import tempfile
from pathlib import Path

from measured import keep
from phantom_yardsticks import population, score, train_all, world

from synthplanes.classification.arms import ARMS
from synthplanes.classification.runs import Task
from synthplanes.command import run
from synthplanes.data.selection import read_classes
from synthplanes.protocol import read_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="phantom")
    parser.add_argument("--root-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--archs", nargs="+", help="default: all of the profile")
    arguments = parser.parse_args()
    profile, root = read_profile(arguments.profile), arguments.root_seed
    archs = arguments.archs or list(profile.used_archs())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        population(profile, root, folder / "population")
        classes = read_classes(folder / "population")
        pools = world(profile, folder / "population", classes)

        def task(arm: str, arch: str, seed: int) -> Task:
            def place(name: str) -> Path:
                return folder / f"{name}-{arch}-{seed}.safetensors"
            return Task(ARMS[arm], seed, 0, arch, profile.used_archs()[arch], profile.recipe, root, pools, None, place(arm),
                        teacher=place(ARMS[arm].teacher) if ARMS[arm].teacher else None)

        tasks = [task(arm.name, arch, seed) for arm in ARMS.values() if arm.name == "real" or arm.rival
                 for arch in archs for seed in range(arguments.seeds)]
        for taught in (False, True):  # teachers first
            train_all([one for one in tasks if bool(one.teacher) == taught], profile.compute.processes)
        rows = score(profile, [("population", one) for one in tasks], {"population": pools["test"]}, classes)
    keep("rivals", dict(profile=arguments.profile, root_seed=root, n_train=len(pools["real"]), n_test=len(pools["test"]),
                        batch_size=profile.recipe.batch_size, rows=[
                            {name: row[name] for name in ("arch", "arm", "updates", "mean", "deviation", "n")}
                            for row in rows]))
    for row in rows:
        print("{arch:14} {arm:16} {mean:.3f} (SD {deviation}, n {n})".format(**row))


if __name__ == "__main__":
    run(main)
