"""Train on synthetic images (the first stage of the paper's method), and the controls in their place."""

from synthplanes.classification.cells import train_and_record
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_budget_with_substitutes
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", "arch",
                                paths=("prepared", "synthetic", "code", "scratch", "adopted", "out"))
    profile = read_profile(arguments.profile)

    def pools(replicate: int) -> dict:
        return read_budget_with_substitutes(arguments.prepared, arguments.synthetic, arguments.budget, replicate)

    train_and_record("pretrain", arguments, profile, pools)


if __name__ == "__main__":
    run(main)
