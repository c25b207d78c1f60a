"""Test the calibration of the interval: send worlds with a known effect through the code that decides, count words.

    python tests/benchmarks/calibration.py [--worlds 2000] [--worlds-at-no-effect 4000] [--processes 2]

Each row of the table is a design of `simulated_worlds` (which variance dominates, classes, test patients, units), a
true effect (0, half the margin, the margin, twice the margin) and what the arm is compared with:

- `one`: the interval of one contrast, with `real`;
- `equal`: `weaker` over `real` and a `real_two_stage` that is exactly as good, where the arm must win twice;
- `apart`: `weaker` over `real` and a `real_two_stage` two margins below it, where one contrast decides.

With 60 and 270 patients and the classes of FETAL_PLANES_DB the designs are the full product of dominant variance,
patients and units. With 900 patients, and with balanced classes and 60 or 270 patients, they are the third of it whose
levels add up to a multiple of three, so that every pair of levels occurs. The rows of one design share their worlds.

A row has the coverage of the 95 % interval, how often it lies wholly above the effect or wholly below, the share of
"helps" and of words that are false, each with its 95 % Wilson interval (1927) in `_low` and `_high`; the share of every
other word; mean width and mean estimate in points. `helps` over the effects is the power curve of a design. Targets:
the Wilson interval of coverage meets 93.5 to 96.5 %; at no effect at most 3.5 % "helps". All that misses is printed.

`equal` and `apart` miss on the upper side, and are meant to. The lower limit is intersection-union's: it lies above two
equal effects only where those of both contrasts do (Berger 1982), far less often than 2.5 %. The upper limit is
Bonferroni's: nominally it errs at most 2.5 %, and half of that where one contrast decides.

If "helps" has its nominal rate of 2.5 % at no effect, one row of 45 passes 3.5 % by chance in 11 % of such grids with
2,000 worlds a row, in .2 % with 4,000 (binomial): so there are 4,000 there (never fewer than `--worlds`: for a
quick look lower both), and the tests ask the committed table for them. Writes metrics/calibration.csv, or what `--out`
says; the same for any number of processes.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for tests.benchmarks, which is not on the path of a script

from synthplanes.command import run  # noqa: E402
from synthplanes.progress import Progress  # noqa: E402
from synthplanes.protocol.words import FINDINGS, MIN_REPETITIONS, OTHERWISE, REFUSALS  # noqa: E402
from synthplanes.records import Schema, write_table  # noqa: E402
from synthplanes.statistics.blocks import Blocks  # noqa: E402
from synthplanes.statistics.clustered import Interval, contrast, weaker  # noqa: E402
from synthplanes.statistics.verdict import Evidence, judge  # noqa: E402
from tests.benchmarks.simulated_worlds import SPREADS, Design, World, draw  # noqa: E402

MARGIN = 0.02                             # that of the profile `phantom`
EFFECTS = (0.0, MARGIN / 2, MARGIN, 2 * MARGIN)
APART = 2 * MARGIN                        # how far the second reference lies below the first
REFERENCES = ("one", "equal", "apart")
PATIENTS, UNITS, CLASSES = (60, 270, 900), (MIN_REPETITIONS, 8, 20), ("fetal_planes", "balanced")
COVERAGE, FALSE_HELPS = (.935, .965), .035
WORDS = (*REFUSALS, *FINDINGS, OTHERWISE[0])
# "helps" has a column with limits; the other refusals need a fault that no simulated world has.
COLUMNS = {word: word.replace(", ", "_").replace(" ", "_") for word in WORDS
           if word in (*FINDINGS, OTHERWISE[0], "too few patients") and word != "helps"}
RATES = ("coverage", "above", "below", "helps", "false_word")
CALIBRATION = Schema("calibration.csv", {
    "dominant": str, "classes": str, "patients": int, "units": int, "effect": float, "references": str, "worlds": int,
    **{f"{name}{end}": float for name in RATES for end in ("", "_low", "_high")},
    **dict.fromkeys(COLUMNS.values(), float), "mean_width": float, "mean_estimate": float})
# Where a word says what is not so; an effect on the border of a claim is outside it.
FALSE = {"hurts": lambda effect: effect >= 0, "helps": lambda effect: effect <= 0,
         "helps, negligibly": lambda effect: not 0 < effect < MARGIN,
         "equivalent": lambda effect: abs(effect) >= MARGIN, "no worthwhile gain": lambda effect: effect >= MARGIN}
PORTION = 50                              # worlds that one process draws in a row


def grid() -> Iterator[Design]:
    """Yield the designs."""
    for levels in itertools.product(enumerate(SPREADS), CLASSES, enumerate(PATIENTS), enumerate(UNITS)):
        (a, dominant), classes, (b, n_patients), (c, n_units) = levels
        whole, part = classes == "fetal_planes" and n_patients < 900, classes == "fetal_planes" or n_patients < 900
        if whole or part and (a + b + c) % 3 == 0:
            yield Design(dominant, classes, n_patients, n_units)


def intervals(world: World, effects: tuple[float, ...]) -> Iterator[tuple[Interval, Interval, Interval]]:
    """Yield, for every effect in one world, an interval for each of `REFERENCES`."""
    blocks = Blocks.balanced(world.labels, world.patients)
    references = [world.correct(*which)[None] for which in (("real",), ("real_two_stage",), ("real_two_stage", -APART))]
    for effect in effects:
        arm = world.correct("arm", effect)[None]
        one, equal, apart = (contrast(arm, other, blocks) for other in references)
        yield one, weaker(one, equal), weaker(one, apart)


def judged(design: Design, root: int, numbers: range, effects: tuple[float, ...] = EFFECTS) -> np.ndarray:
    """Return estimate, low, high and position of the word in `WORDS`: float [worlds, effects, references, 4]."""
    return np.array([[[(each.estimate, each.low, each.high, WORDS.index(judge(Evidence(each, MARGIN)).word))
                       for each in three] for three in intervals(draw(design, root, number), effects)]
                     for number in numbers])


def rate(name: str, count: int, n: int) -> dict[str, float]:
    """Return the columns of a rate: the share and its 95 % Wilson interval."""
    wilson = stats.binomtest(int(count), int(n)).proportion_ci(.95, method="wilson")
    return {f"{name}{end}": round(float(value), 4)
            for end, value in (("", count / n), ("_low", wilson.low), ("_high", wilson.high))}


def rows(design: Design, worlds: np.ndarray, effects: tuple[float, ...] = EFFECTS) -> Iterator[dict[str, Any]]:
    """Yield one row for each effect and kind of reference, from what `judged` returns."""
    n = len(worlds)
    for (e, effect), (r, references) in itertools.product(enumerate(effects), enumerate(REFERENCES)):
        estimate, low, high, word = worlds[:, e, r].T
        words = np.array(WORDS)[word.astype(int)]
        false = [name for name, is_false in FALSE.items() if is_false(effect)]
        yield {
            "dominant": design.dominant, "classes": design.classes, "patients": design.n_patients,
            "units": design.n_units, "effect": effect, "references": references, "worlds": n,
            **rate("coverage", ((low <= effect) & (effect <= high)).sum(), n), **rate("above", (low > effect).sum(), n),
            **rate("below", (high < effect).sum(), n), **rate("helps", (words == "helps").sum(), n),
            **rate("false_word", np.isin(words, false).sum(), n),
            **{column: round(float((words == name).mean()), 4) for name, column in COLUMNS.items()},
            "mean_width": _points(high - low), "mean_estimate": _points(estimate)}


def _points(fractions: np.ndarray) -> float:
    return round(100 * float(np.mean(fractions)), 3)


def misses(row: dict[str, Any]) -> list[str]:
    """Say what a row misses of the targets; empty where it meets them."""
    share, low, high = (row[f"coverage{end}"] for end in ("", "_low", "_high"))
    missed = []
    if high < COVERAGE[0]:
        missed.append(f"covers too little: {share:.3f} [{low:.3f}, {high:.3f}]")
    if low > COVERAGE[1]:
        missed.append(f"covers too much: {share:.3f} [{low:.3f}, {high:.3f}]")
    if row["effect"] == 0 and row["helps"] > FALSE_HELPS:
        missed.append(f"says helps at no effect: {row['helps']:.3f}")
    return missed


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return extremes and means over the rows of each kind of reference, and how many miss a target."""
    missed = pd.DataFrame([{word: sum(miss.startswith(word) for miss in misses(row)) for word in (
        "covers too little", "covers too much", "says helps")} for row in table.to_dict("records")])
    by = pd.concat([table, missed], axis=1).groupby("references", sort=False)
    at_no_effect = table[table["effect"] == 0].groupby("references", sort=False)
    return pd.DataFrame({
        "rows": by.size(), "least_coverage": by["coverage"].min(), "mean_coverage": by["coverage"].mean().round(4),
        "most_coverage": by["coverage"].max(), "mean_above": by["above"].mean().round(4),
        "mean_below": by["below"].mean().round(4), "most_false_helps": at_no_effect["helps"].max(),
        "most_false_words": by["false_word"].max(), **{word.replace(" ", "_"): by[word].sum() for word in missed}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--worlds-at-no-effect", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--root-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "metrics" / "calibration.csv")
    arguments = parser.parse_args()
    designs = list(grid())
    progress = Progress("calibration", len(designs), "designs")
    every: list[dict[str, Any]] = []
    worlds = all_worlds(designs, arguments.worlds, arguments.worlds_at_no_effect, arguments.processes,
                        arguments.root_seed)
    for number, (design, portions) in enumerate(worlds, start=1):
        every += all_rows(design, portions)
        progress(number)
    table = CALIBRATION.frame(every)
    write_table(arguments.out, table, CALIBRATION)
    for row in every:
        for miss in misses(row):
            print(*(row[name] for name in ("dominant", "classes", "patients", "units", "effect", "references")), miss)
    print(summary(table).T.to_string())


def all_worlds(designs: list[Design], worlds: int, worlds_at_no_effect: int, processes: int,
               root_seed: int) -> Iterator[tuple[Design, list[np.ndarray]]]:
    """Yield what `judged` returns for the worlds of each design: of the first for all effects, of the rest at none."""
    spans = [(0, worlds, EFFECTS), (worlds, worlds_at_no_effect, EFFECTS[:1])]
    portions = [(range(first, min(first + PORTION, stop)), effects)
                for start, stop, effects in spans for first in range(start, stop, PORTION)]
    # One queue for all designs: no process waits for the last portion of a design.
    results = joblib.Parallel(n_jobs=processes, return_as="generator")(
        joblib.delayed(judged)(design, root_seed, *portion) for design in designs for portion in portions)
    for design in designs:
        yield design, list(itertools.islice(results, len(portions)))


def all_rows(design: Design, portions: list[np.ndarray]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one design, from its portions of worlds: those at no effect rest on all of them."""
    yield from rows(design, np.concatenate([worlds[:, :1] for worlds in portions]), EFFECTS[:1])
    yield from rows(design, np.concatenate([worlds[:, 1:] for worlds in portions if worlds.shape[1] > 1]), EFFECTS[1:])


if __name__ == "__main__":
    run(main)
