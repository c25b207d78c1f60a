"""Write the analysis plan down, before any test row is opened."""

from synthplanes import records
from synthplanes.command import run, stage_arguments
from synthplanes.protocol.planning import settings_of
from synthplanes.protocol.profiles import read_profile
from synthplanes.protocol.analysis_plan import analysis_plan


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=("out",))
    profile = read_profile(arguments.profile)
    sections = dict(replication=profile.replication, simulate=profile.simulate, prepare=profile.prepare,
                    train_diffusion=profile.train_diffusion, train_guide=profile.train_guide, sample=profile.sample,
                    audit=profile.audit, recipe=profile.recipe, evaluate=profile.evaluate)
    protocol = {name: section and section.model_dump(mode="json") for name, section in sections.items()}
    protocol["budgets"] = profile.used_budgets()
    protocol["archs"] = {role: arch.model_dump(mode="json") for role, arch in profile.used_archs().items()}
    records.write_json(arguments.out, analysis_plan(settings_of(profile), protocol))


if __name__ == "__main__":
    run(main)
