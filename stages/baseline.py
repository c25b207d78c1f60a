"""Train the arms that see real images only: real_short, real, real_two_stage and real_long."""

from synthplanes.classification.cells import train_and_record
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_budget
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", "arch", paths=("prepared", "code", "scratch", "adopted", "out"))
    profile = read_profile(arguments.profile)

    def pools(replicate: int) -> dict:
        return {"real": read_budget(arguments.prepared, arguments.budget, replicate, "train")}

    train_and_record("baseline", arguments, profile, pools)


if __name__ == "__main__":
    run(main)
