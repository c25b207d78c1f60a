"""Predict validation and test images with every classifier: the only stage that opens test rows."""

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.protocol.profiles import read_profile
from synthplanes.statistics.test_access_log import digest


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", "arch",
                                paths=("plan", "prepared", "baseline", "pretrain", "finetune", "joint", "out"))
    profile, items = read_profile(arguments.profile), []
    used = arguments.arch in profile.used_archs() and arguments.budget in profile.used_budgets()
    records.write_json(arguments.out / "cell.json", dict(
        profile=arguments.profile, budget=arguments.budget, arch=arguments.arch, analysis_plan=digest(arguments.plan),
        model=profile.used_archs()[arguments.arch].model if used else None))
    if used:
        # torch takes seconds, which unused cells need not spend
        from synthplanes.classification.prediction import predict_cell
        items = predict_cell(arguments, profile)
    records.write_cost(arguments.out, items)


if __name__ == "__main__":
    run(main)
