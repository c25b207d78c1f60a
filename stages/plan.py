"""Write the analysis plan, before any test image is predicted."""

from synthplanes import records
from synthplanes.command import run, stage_cell
from synthplanes.protocol.analysis_plan import analysis_plan


def main() -> None:
    cell = stage_cell(__doc__, "plan")
    records.write_json(cell.paths.analysis_plan, analysis_plan(cell.parameters))


if __name__ == "__main__":
    run(main)
