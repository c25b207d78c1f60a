"""Draw the synthetic sets, one per budget and replicate."""

from synthplanes.command import run, stage_cell
from synthplanes.diffusion.generators import draw_synthetic_sets
from synthplanes.diffusion.parts import joined


def main() -> None:
    cell = stage_cell(__doc__, "sample")
    with joined() as processes:
        draw_synthetic_sets(cell, processes)


if __name__ == "__main__":
    run(main)
