"""Scores, intervals and the verdict of a profile, from its prediction files and tables alone."""

from synthplanes import records
from synthplanes.classification.arms import ARMS, expected_cells, uses_synthetic
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_classes
from synthplanes.protocol import read_profile
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.predictions import read_predictions
from synthplanes.statistics.settings import Settings


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("predictions", "prepared", "simulated", "out"))
    profile = read_profile(arguments.profile)
    budgets, archs = profile.used_budgets(), profile.used_archs()
    classes = read_classes(arguments.prepared)
    predictions = [read_predictions([(arch, arguments.predictions / budget / arch) for arch in archs], classes)
                   for budget in budgets]
    settings = Settings(profile.prepare.source, profile.simulate is not None, profile.evaluate.margin,
                        min(budgets, key=budgets.get), expected_cells(profile), profile.replication.root_seed,
                        frozenset(filter(uses_synthetic, ARMS)) if profile.train_diffusion.warm_start else frozenset())
    phantom = records.read_json(arguments.simulated / "phantom.json")
    splits = records.read_table(arguments.prepared / "splits.csv", records.SPLITS)
    development = records.read_table(arguments.prepared / "development" / "index.csv", records.INDEX)
    scores, verdict = evaluate(predictions, settings, {"phantom": phantom}, splits, development)
    records.write_table(arguments.out / "scores.csv", scores)
    records.write_json(arguments.out / "verdict.json", verdict)


if __name__ == "__main__":
    run(main)
