"""Sum up each evidence file of metrics/ in one generated line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from synthplanes import records
from synthplanes.report.markdown import code, count, difference, escaped, percent, points


def _calibration(table: pd.DataFrame) -> str:
    coverage, false_helps = table["coverage"].min(), table.loc[table["effect"] == 0, "helps"].max()
    return (f"{count(len(table))} simulated designs: the 95 % intervals cover the truth in {percent(coverage)} % of "
            f"the worlds at least; without an effect *helps* is said in {percent(false_helps)} % at most.")


def _controls(content: dict[str, Any]) -> str:
    gains = (f"{escaped(name.replace('_', ' '))} {difference(entry['mean'], entry['low'], entry['high'])} over "
             f"{count(entry['populations'])} populations" for name, entry in content["gain"].items())
    return (f"Gains of controls over the better of `real` and `real_two_stage`, in points: {'; '.join(gains)}. The "
            "oracle must help, the others must not. Against the better of two references, an arm without an effect "
            "loses a little on average.")


def _variants(content: dict[str, Any]) -> str:
    return "Words of single runs, most with one thing changed (`tests/benchmarks/variants.py` explains the names): " + (
        "; ".join(f"{escaped(name)}: {escaped(entry['word'])}" for name, entry in content.items()) + ".")


def _generator_yardsticks(content: dict[str, Any]) -> str:
    def gain(entry: dict[str, Any]) -> str:
        best = max(entry["ways"], key=lambda way: way["synthetic_then_real"]["mean"])
        return points(best["synthetic_then_real"]["mean"] - entry["real"]["mean"])

    listed = "; ".join(f"{escaped(name)}: {gain(entry)}" for name, entry in content.items())
    return (f"`synthetic_then_real` against `real`, in points: {listed}. Each is the best of several generators, "
            "without an interval and without a convergence check, so it is no evidence of a gain.")


def _phantom_yardsticks(content: dict[str, Any]) -> str:
    best = max(content["parts"]["very_large"]["balanced_accuracy"], key=lambda entry: entry["mean"])
    return (f"With {count(content['n']['very large']['real'])} real images a classifier of the phantom reaches "
            f"{percent(best['mean'])} % balanced accuracy.")


def _benchmarks(content: dict[str, Any]) -> str:
    return f"Speed, memory and leakage measured: {escaped(', '.join(name.replace('_', ' ') for name in content))}."


_SUMMARIES: dict[str, Callable[[Any], str]] = {
    "calibration": _calibration, "controls": _controls, "variants": _variants,
    "generator_yardsticks": _generator_yardsticks, "phantom_yardsticks": _phantom_yardsticks, "benchmarks": _benchmarks}


def evidence(metrics: Path) -> Iterator[str]:
    """Yield a Markdown line per file of evidence in `metrics`; one that cannot be summed up is listed by its name."""
    for path in sorted((*metrics.glob("*.csv"), *metrics.glob("*.json"))):
        try:
            content = pd.read_csv(path) if path.suffix == ".csv" else records.read_json(path)
            line = _SUMMARIES[path.stem](content)
        except (KeyError, TypeError, ValueError, AttributeError):
            line = "No summary."
        yield f"- [{code(path.name)}]({path.name}): {line}"
