"""Fine-tune every pretrained classifier on the budget's real images (the paper's method)."""

from synthplanes.classification.cells import train_and_record
from synthplanes.command import run, stage_arguments
from synthplanes.data.selection import read_budget_with_substitutes
from synthplanes.protocol.profiles import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", "arch",
                                paths=("prepared", "synthetic", "pretrain", "code", "scratch", "adopted", "out"))
    profile = read_profile(arguments.profile)

    def pools(replicate: int) -> dict:
        return read_budget_with_substitutes(arguments.prepared, arguments.synthetic, arguments.budget, replicate)

    train_and_record("finetune", arguments, profile, pools, arguments.pretrain)


if __name__ == "__main__":
    run(main)
