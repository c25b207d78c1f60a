"""Scores, intervals and the verdict of a profile, from its prediction files and tables alone."""

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_classes
from synthplanes.protocol.planning import settings_of
from synthplanes.protocol.profiles import read_profile
from synthplanes.statistics.evaluation import evaluate
from synthplanes.statistics.test_access_log import count_opening, digest, refuse_other_plans
from synthplanes.statistics.predictions import read_predictions


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("predictions", "prepared", "simulated", "plan", "code", "out"))
    profile = read_profile(arguments.profile)
    budgets, archs = profile.used_budgets(), profile.used_archs()
    classes = read_classes(arguments.prepared)
    cells = [arguments.predictions / budget / arch for budget in sorted(budgets) for arch in sorted(archs)]
    refuse_other_plans([cell / "cell.json" for cell in cells], digest(arguments.plan))
    predictions = [read_predictions([(arch, arguments.predictions / budget / arch) for arch in archs], classes)
                   for budget in budgets]
    phantom = records.read_json(arguments.simulated / "phantom.json")
    splits = records.read_table(arguments.prepared / "splits.csv", records.SPLITS)
    development = records.read_table(arguments.prepared / "development" / "index.csv", records.INDEX)
    scores, verdict = evaluate(predictions, settings_of(profile), {"phantom": phantom}, splits, development)
    verdict["analysis_plan"] = count_opening(arguments.out / "openings.csv", digest(arguments.plan),
                                             [cell / "probabilities.npy" for cell in cells])
    verdict["analysis_plan"]["code"] = digest(arguments.code, "fingerprint")
    records.write_table(arguments.out / "scores.csv", scores)
    records.write_json(arguments.out / "verdict.json", verdict)


if __name__ == "__main__":
    run(main)
