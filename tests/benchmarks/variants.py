"""What a change of the protocol does to the verdict: the whole pipeline once more, with other parameters.

    python tests/benchmarks/variants.py NAME ... [--classifier FILE]

Each variant is one `dvc exp run --temp` from this checkout, where the profile is active and its `prepare` has been run:
stages that the change does not reach come from the cache, if they were ever run here. Variants of `phantom`: `amount 1x`,
`amount 5x` (as many, five times as many synthetic images as the scarce budget has for training; the profile draws eight
times as many). Of `african`: `masked` (the upper and the lower tenth, where scanners write, are black in all images;
everything is trained anew); `from phantoms` (the residual net alone, every arm of which begins from the classifier in
FILE, one that a profile of phantoms trained) and `from ImageNet` (tf_efficientnet_lite0 alone, from its ImageNet weights).
Test rows are opened for description: no choice rests on these runs, and the profile's ledger does not count them.
What came out, the profile's own result beside it, stands in metrics/variants.json as soon as it is known; the experiments
themselves are removed. On two CPU cores: 6 minutes for an amount once `phantom` is in the cache, 30 to 40 for `masked`,
50 for `from ImageNet`.
"""

import argparse
import csv
import json
import subprocess
from io import StringIO
from pathlib import Path

import numpy as np

from synthplanes import records
from synthplanes.classification.starting_weights import IMAGENET_MODEL, adopt_classifier, adopt_imagenet
from synthplanes.command import run
from synthplanes.data.selection import read_budget, read_classes
from synthplanes.errors import UserError
from synthplanes.protocol.profiles import Profile, read_profile
from synthplanes.protocol.settings import PRIMARY_METRIC

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "metrics" / "variants.json"
ADOPTED = ROOT / "artifacts" / "adopted"
NAMES = {"amount 1x": "phantom", "amount 5x": "phantom", "masked": "african", "from phantoms": "african",
         "from ImageNet": "african"}
IMAGENET_LEARNING_RATE = 0.001  # at weight decay 1 a tenth of a per cent off the weights an update: more would wipe them
EXPERIMENT = "variant"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"of {list(NAMES)}")
    parser.add_argument("--classifier", type=Path, help="what `from phantoms` begins from: a file of artifacts/pretrain or "
                                                        "artifacts/baseline")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            raise UserError(f"There is no variant '{name}': choose among {list(NAMES)}.")
        profile = NAMES[name]
        changes = changes_of(name, profile, read_profile(profile), arguments.classifier)
        found = records.read_json(arguments.out) if arguments.out.exists() else {}
        own = result(lambda path: (ROOT / path).read_text(encoding="utf-8"), profile)
        records.write_json(arguments.out, found | {profile: own, name: dict(
            experiment(profile, changes), profile=profile, changes=changes)})


def changes_of(name: str, profile: str, parameters: Profile, classifier: Path | None) -> dict[str, object]:
    """The parameters of a variant: full name -> value."""
    if name == "masked":
        return {f"profiles.{profile}.prepare.masked_boxes": [[0.0, 0.0, 1.0, 0.1], [0.0, 0.9, 1.0, 1.0]]}
    if name == "from phantoms":
        if classifier is None:
            raise UserError("'from phantoms' needs --classifier: a trained one of a profile of phantoms.")
        return only(profile, parameters, "residual", dict(start=adopt_classifier(classifier, "phantoms", ADOPTED)))
    if name == "from ImageNet":
        return only(profile, parameters, "convolutional", dict(
            model=IMAGENET_MODEL, learning_rate=IMAGENET_LEARNING_RATE, start=adopt_imagenet(ADOPTED)))
    prepared, times = ROOT / "artifacts" / "prepared" / profile, int(name.removeprefix("amount ").removesuffix("x"))
    n = len(read_budget(prepared, next(iter(parameters.used_budgets())), 0, "train").labels)
    return {f"profiles.{profile}.sample.images_per_class": round(times * n / len(read_classes(prepared)))}


def only(profile: str, parameters: Profile, role: str, fields: dict[str, object]) -> dict[str, object]:
    """One architecture, with other `fields`; the others are left out."""
    section = f"profiles.{profile}"
    return {**{f"{section}.archs.{other}": None for other in parameters.used_archs() if other != role},
            **{f"{section}.archs.{role}.{name}": value for name, value in fields.items()},
            **{f"{section}.recipe.{name}": [arch for arch in getattr(parameters.recipe, name) if arch == role]
               for name in ("joint_archs", "control_archs", "real_data_baseline_archs")}}


def experiment(profile: str, changes: dict[str, object]) -> dict:
    """Run the pipeline with these changes in a place of its own; what it says."""
    overrides = [part for name, value in changes.items() for part in ("-S", f"++{name}={json.dumps(value)}")]
    ignored = [f"artifacts/raw/{profile}"] if read_profile(profile).simulate is None else []  # by git, so not in its place
    ignored += [str(ADOPTED.relative_to(ROOT))] if ADOPTED.exists() else []
    command = ["dvc", "exp", "run", "--temp", "--name", EXPERIMENT, *overrides,
               *(part for path in ignored for part in ("--copy-paths", path)), f"report@{profile}"]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise UserError(f"{' '.join(command)} failed: what it printed above says why.")
    try:
        commit = said("git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{EXPERIMENT}").split()[0]
        return result(lambda path: said("git", "show", f"{commit}:{path}"), profile)
    finally:
        said("dvc", "exp", "remove", EXPERIMENT)


def said(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def result(read, profile: str) -> dict:
    """The verdict and each arm's mean balanced accuracy over architectures and seeds; `read` gives a file's text."""
    overall = json.loads(read(f"metrics/{profile}/verdict.json"))["overall"]
    scores: dict[str, list[float]] = {}
    for row in csv.DictReader(StringIO(read(f"metrics/{profile}/scores.csv"))):
        if row["metric"] == PRIMARY_METRIC:
            scores.setdefault(f"{row['arm']}, {row['arch']}", []).append(float(row["value"]))
    return dict(sentence=overall["sentence"], word=overall["word"], balanced_accuracy={
        name: round(float(np.mean(values)), 4) for name, values in sorted(scores.items())})


if __name__ == "__main__":
    run(main)
