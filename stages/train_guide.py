"""Train the noise-aware classifiers that guide sampling, one per budget and replicate."""

from synthplanes.command import run, stage_cell
from synthplanes.diffusion.generators import train_guides


def main() -> None:
    train_guides(stage_cell(__doc__, "train_guide"))


if __name__ == "__main__":
    run(main)
