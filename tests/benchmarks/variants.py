"""Measure what a change of the protocol does to the verdict: run the whole pipeline once more with other parameters.

    python tests/benchmarks/variants.py [NAME ...] [--classifier FILE]

Each variant is one `dvc exp run --temp` from this checkout, where its profile is active and its `prepare` has been run:
stages that the change does not reach come from the cache, if they were ever run here. Without a NAME the variants of
`phantom` are run.

- `amount 1x`, `amount 5x`, of `phantom`: as many and five times as many synthetic images as the scarce budget has for
  training; the profile draws eight times as many.
- `masked`, of `african`: the upper and the lower tenth, where scanners write, are black in all images; everything is
  trained anew.
- `from phantoms`, of `african`: the residual network alone, every arm of which begins from the classifier in FILE, one
  that a profile of phantoms trained.
- `from ImageNet`, of `african`: tf_efficientnet_lite0 alone, from its ImageNet weights.

Test rows are opened for description: no choice rests on these runs, and the profile's log of test access does not count
them. The results, the profile's own beside them, stand in metrics/variants.json as soon as they are known; the
experiments themselves are removed. On two CPU cores: 6 minutes for an amount once `phantom` is in the cache, 30 to 40
for `masked`, 50 for `from ImageNet`.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import csv
import json
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from synthplanes import records
from synthplanes.classification.pretrained import IMAGENET_MODEL, imagenet_weights, keep_classifier
from synthplanes.command import run
from synthplanes.compute.weights import read_weights
from synthplanes.data.selection import read_budget
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.protocol.profiles import PARAMS, Profile, read_profile
from synthplanes.protocol.words import PRIMARY_METRIC

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "metrics" / "variants.json"
NAMES = {"amount 1x": "phantom", "amount 5x": "phantom", "masked": "african", "from phantoms": "african",
         "from ImageNet": "african"}
BY_DEFAULT = [name for name, profile in NAMES.items() if profile == "phantom"]
IMAGENET_LEARNING_RATE = 0.001  # at weight decay 1 an update takes a tenth of a per cent off the weights, not more
EXPERIMENT = "variant"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {list(NAMES)}")
    parser.add_argument("--classifier", type=Path, help="what `from phantoms` begins from: a file of "
                                                        "artifacts/pretrain or artifacts/baseline")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    names = arguments.names or BY_DEFAULT
    if unknown := [name for name in names if name not in NAMES]:
        raise UserError(f"There is no variant '{unknown[0]}': choose among {list(NAMES)}.")
    for name in names:
        profile = NAMES[name]
        changes = changes_of(name, read_profile(profile, ROOT / PARAMS), arguments.classifier)
        before = records.read_json(arguments.out) if arguments.out.exists() else {}
        own = result(lambda path: (ROOT / path).read_text(encoding="utf-8"), profile)
        records.write_json(arguments.out, before | {profile: own, name: dict(
            experiment(profile, changes), profile=profile, changes=changes)})


def changes_of(name: str, parameters: Profile, classifier: Path | None) -> dict[str, Any]:
    """Return the parameters of a variant by their full names; `parameters` is the profile as it is."""
    profile = NAMES[name]
    paths = Paths(profile, ROOT)
    if name == "masked":
        return {f"profiles.{profile}.prepare.masked_boxes": [[0.0, 0.0, 1.0, 0.1], [0.0, 0.9, 1.0, 1.0]]}
    if name == "from phantoms":
        if classifier is None:
            raise UserError("'from phantoms' needs --classifier: a trained one of a profile of phantoms.")
        digest = keep_classifier(read_weights(classifier), "phantoms", paths.pretrained)
        return only(profile, parameters, "residual", dict(pretrained=digest))
    if name == "from ImageNet":
        digest = keep_classifier(imagenet_weights(), "ImageNet", paths.pretrained)
        return only(profile, parameters, "convolutional", dict(
            model=IMAGENET_MODEL, learning_rate=IMAGENET_LEARNING_RATE, pretrained=digest))
    times, train_set = int(name.removeprefix("amount ").removesuffix("x")), read_budget(
        paths.prepared, parameters.scarce_budget, 0, "train")
    return {f"profiles.{profile}.sample.images_per_class": round(times * len(train_set) / len(train_set.classes))}


def only(profile: str, parameters: Profile, role: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a profile with one architecture, which has other `fields`."""
    section = f"profiles.{profile}"
    # An architecture in a profile's own section replaces the inherited one whole, so all of its fields are written.
    architecture = parameters.archs[role].model_dump() | fields
    return {**{f"{section}.archs.{other}": None for other in parameters.archs if other != role},
            **flat(f"{section}.archs.{role}", architecture),
            **{f"{section}.recipe.optional_arms.{option}": [role] if role in roles else None
               for option, roles in parameters.recipe.optional_arms.items()}}


def flat(name: str, value: Any) -> dict[str, Any]:
    """Return a value by its full name, or a mapping's values by theirs: DVC takes no mappings on its command line."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    return {full: part for key, inner in value.items() for full, part in flat(f"{name}.{key}", inner).items()}


def experiment(profile: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Run the pipeline with these changes in a place of its own, and return its `result`."""
    overrides = [part for name, value in changes.items() for part in ("-S", f"++{name}={json.dumps(value)}")]
    paths = Paths(profile)
    # Folders that version control ignores are not in that place.
    ignored = [paths.artifact("raw")] if read_profile(profile, ROOT / PARAMS).simulate is None else []
    ignored += [paths.pretrained] if (ROOT / paths.pretrained).exists() else []
    command = ["dvc", "exp", "run", "--temp", "--name", EXPERIMENT, *overrides,
               *(part for path in ignored for part in ("--copy-paths", str(path))), f"report@{profile}"]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise UserError(f"{' '.join(command)} failed: what it printed above says why.")
    try:
        commit = output_of("git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{EXPERIMENT}").split()[0]
        return result(lambda path: output_of("git", "show", f"{commit}:{path}"), profile)
    finally:
        output_of("dvc", "exp", "remove", EXPERIMENT)


def output_of(*command: str) -> str:
    """Return what a command prints; one that fails raises `CalledProcessError`."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def result(read: Callable[[str], str], profile: str) -> dict[str, Any]:
    """Return the verdict and each arm's balanced accuracy on every architecture; `read` gives the text of a file.

    Both are of the budget of which the verdict speaks; an arm's score is its mean over seeds.
    """
    overall = json.loads(read(f"metrics/{profile}/verdict.json"))["overall"]
    scores = {}
    for row in csv.DictReader(StringIO(read(f"metrics/{profile}/levels.csv"))):
        arch = overall["archs"][0] if len(overall["archs"]) == 1 else row["arch"]  # one architecture is its own mean
        if (row["budget"], row["metric"]) == (overall["budget"], PRIMARY_METRIC) and arch != "mean":
            scores[f"{row['arm']}, {arch}"] = round(float(row["estimate"]), 4)
    return dict(sentence=overall["sentence"], word=overall["word"], balanced_accuracy=dict(sorted(scores.items())))


if __name__ == "__main__":
    run(main)
