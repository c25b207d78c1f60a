"""Train the classifiers of one stage.

baseline: the arms that train on real images only. pretrain: on synthetic images (the paper's first stage), and the
controls in their place. finetune: every pretrained classifier on the budget's real images (the paper's method).
joint: on real and synthetic images together.
"""

from synthplanes.classification.runs import train_classifiers
from synthplanes.command import run, stage_cell


def main() -> None:
    train_classifiers(stage_cell(__doc__, "baseline", "pretrain", "finetune", "joint"))


if __name__ == "__main__":
    run(main)
