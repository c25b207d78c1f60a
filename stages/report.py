"""The first page of a profile: its verdict, figures, tables and counted work."""

from synthplanes.command import run, stage_arguments
from synthplanes.protocol.profiles import read_profile
from synthplanes.report.writing import FOLDERS, write_report


def main() -> None:
    arguments = stage_arguments(__doc__, "profile", paths=(*FOLDERS, "metrics", "figures"))
    folders = {name: getattr(arguments, name) for name in FOLDERS}
    write_report(arguments.profile, read_profile(arguments.profile), folders, arguments.metrics, arguments.figures)


if __name__ == "__main__":
    run(main)
