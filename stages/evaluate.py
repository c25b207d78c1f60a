"""Compute the scores, intervals and verdict of a profile from its predictions and tables alone."""

from synthplanes.command import run, stage_cell
from synthplanes.statistics.evaluation import write_results
from synthplanes.statistics.profile_evaluation import evaluate_profile, log_access, prediction_files


def main() -> None:
    cell = stage_cell(__doc__, "evaluate")
    results = evaluate_profile(cell)
    write_results(cell.paths.metrics, results)
    # The log is written last; no result depends on it.
    log_access(cell.paths.metrics / "test_access_log.csv", results.verdict["analysis_plan"]["sha256"],
               prediction_files(cell))


if __name__ == "__main__":
    run(main)
