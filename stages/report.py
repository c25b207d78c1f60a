"""Write the report of a profile: its page, pictures and counted work."""

from synthplanes.command import run, stage_cell
from synthplanes.report.writing import write_report


def main() -> None:
    write_report(stage_cell(__doc__, "report"))


if __name__ == "__main__":
    run(main)
