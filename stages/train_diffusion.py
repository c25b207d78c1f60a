"""Train the class-conditional denoisers, one per budget and replicate."""

from synthplanes.command import run, stage_cell
from synthplanes.diffusion.generators import train_generators
from synthplanes.diffusion.parts import joined


def main() -> None:
    cell = stage_cell(__doc__, "train_diffusion")
    with joined() as processes:
        train_generators(cell, processes)


if __name__ == "__main__":
    run(main)
