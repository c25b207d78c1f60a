"""Predict validation and test images with every classifier: the only stage that opens test rows."""

from synthplanes.classification.prediction import predict_and_record
from synthplanes.command import run, stage_arguments
from synthplanes.protocol import read_profile


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", "budget", "arch",
                                paths=("plan", "prepared", "baseline", "pretrain", "finetune", "joint", "out"))
    predict_and_record(arguments, read_profile(arguments.profile))


if __name__ == "__main__":
    run(main)
