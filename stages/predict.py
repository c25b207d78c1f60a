"""Predict validation and test images with every classifier; after `prepare`, no other stage reads test images."""

from synthplanes.classification.prediction import predict_runs
from synthplanes.command import run, stage_cell


def main() -> None:
    predict_runs(stage_cell(__doc__, "predict"))


if __name__ == "__main__":
    run(main)
