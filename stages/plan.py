"""Write the analysis plan down, before any test row is opened."""

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.planning import settings_of
from synthplanes.protocol import read_profile
from synthplanes.statistics.analysis_plan import analysis_plan


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("out",))
    profile = read_profile(arguments.profile)
    records.write_json(arguments.out, analysis_plan(settings_of(profile), profile.recipe.model_dump()))


if __name__ == "__main__":
    run(main)
