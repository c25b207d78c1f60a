"""Test the calibration of the verdict: send worlds with known effects through the code that decides, count words.

    python tests/benchmarks/calibration.py [--worlds 1000] [--worlds-at-no-effect 4000] [--processes 2]

Each row of the table is a design of `simulated_worlds`, a true effect and what is judged:

- `contrast`: one contrast, `synthetic_then_real` with `real`, by its own 95 % interval;
- `equal`: the two hypotheses of a profile, over two and three references that are all exactly as good, judged together;
  both arms have the effect;
- `apart`: the same, where all references but `real` lie two margins below it, so that one contrast decides;
- `joint_alone`: as `apart`, where `synthetic_then_real` has no effect and `joint` has the effect.

The designs are the part of the product of dominant variance, patients and units whose levels add up to a multiple of
three, so that every pair of levels occurs; worlds in which generators share one pool of training patients, or do not;
and worlds in which one class has few patients with 40 to 100 images each. Rows of one design share their worlds.

A row has the coverage of the 95 % interval (of a hypothesis, that against its `bound_reference`), how often it lies
wholly above the effect or wholly below, the share of
worlds with a gain (any of the three words, of any hypothesis) and with a false word, each with its 95 % Wilson interval
(1927) in `_low` and `_high`, the share of every word of the row's first hypothesis, mean width and mean estimate in
points. Targets: the Wilson interval of coverage meets 93.5 to 96.5 %; at no effect a contrast says a gain in 3.5 % at
most, and the hypotheses, together, in 2.7 % at most (the lower end of Wilson's interval; 2.5 % is nominal). All that
misses is printed. Writes metrics/calibration.csv, or what `--out` says; the same for any number of processes.
"""

import synthplanes  # noqa: F401  # isort: skip  # before numpy loads: it fixes the CPU instructions

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
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
from synthplanes.protocol.contrasts import HYPOTHESES  # noqa: E402
from synthplanes.protocol.words import FINDINGS, GAINS, MIN_PATIENTS_PER_CLASS, OTHERWISE  # noqa: E402
from synthplanes.records import Schema, write_table  # noqa: E402
from synthplanes.statistics.blocks import Blocks  # noqa: E402
from synthplanes.statistics.clustered import Interval, contrast  # noqa: E402
from synthplanes.statistics.hypotheses import Case, decide  # noqa: E402
from synthplanes.statistics.verdict import Evidence, judge  # noqa: E402
from tests.benchmarks.simulated_worlds import SPREADS, Design, World, draw  # noqa: E402

ASKED = tuple(replace(each, harm_also=()) for each in HYPOTHESES)
MARGIN = 0.02                             # that of the profile `phantom`
EFFECTS = (0.0, MARGIN, 2 * MARGIN)
APART = 2 * MARGIN                        # how far the other references lie below `real`
JUDGED = ("contrast", "equal", "apart", "joint_alone")
PATIENTS, UNITS = (60, 270, 900), (5, 8, 20)
COVERAGE, FALSE_GAIN = (.935, .965), {"contrast": .035, "equal": .027, "apart": .027, "joint_alone": .027}
WORDS = (*FINDINGS, OTHERWISE[0], "too few patients")  # the other refusals need a fault that no simulated world has
COLUMNS = {word: word.replace(", ", "_").replace(" ", "_") for word in WORDS}
RATES = ("coverage", "above", "below", "gain", "false_word")
CALIBRATION = Schema("calibration.csv", {
    "dominant": str, "classes": str, "patients": int, "units": int, "pool_share": float, "scarce_patients": int,
    "effect": float, "judged": str, "worlds": int, **{f"{name}{end}": float for name in RATES
                                                      for end in ("", "_low", "_high")},
    **dict.fromkeys(COLUMNS.values(), float), "mean_width": float, "mean_estimate": float})
# Where a word says what is not so; an effect on the border of a claim is outside it.
# `effect` is over the best reference, `bound` over the one that the hypothesis names.
FALSE = {"worthwhile gain": lambda effect, bound: effect <= MARGIN,
         "gain, size open": lambda effect, bound: effect <= 0,
         "gain, below the margin": lambda effect, bound: effect <= 0 or bound > MARGIN,
         "harm": lambda effect, bound: effect >= 0, "equivalent": lambda effect, bound: abs(bound) >= MARGIN,
         "no worthwhile gain": lambda effect, bound: bound > MARGIN}
PORTION = 50                              # worlds that one process draws in a row


def grid() -> Iterator[Design]:
    """Yield the designs."""
    for (a, dominant), (b, n_patients), (c, n_units) in itertools.product(
            enumerate(name for name in SPREADS if name != "pool"), enumerate(PATIENTS), enumerate(UNITS)):
        if (a + b + c) % 3 == 0:
            yield Design(dominant, "fetal_planes", n_patients, n_units)
            if n_patients < 900:
                yield Design(dominant, "balanced", n_patients, n_units)
    for share, n_units in itertools.product((0.0, .1, .25), (5, 10)):
        yield Design("pool", "fetal_planes", 270, n_units, share)
    for dominant, n_patients in itertools.product(("seed", "patient"), (60, 270)):
        yield Design(dominant, "fetal_planes", n_patients, 8, scarce=MIN_PATIENTS_PER_CLASS)


class Contrasts:
    """The evidence on the arms of both hypotheses in one world; every contrast is computed once."""

    def __init__(self, world: World, pool_share: float):
        self._world, self._pool_share = world, pool_share
        self._blocks = Blocks.balanced(world.labels, world.patients)
        self._right: dict[tuple[str, float], np.ndarray] = {}
        self._evidence: dict[tuple[str, float, str, float], Evidence] = {}

    def of(self, arm: str, effect: float, reference: str, below: float) -> Evidence:
        """Return the evidence on an arm with `effect` over `real`; `reference` lies `below` that."""
        key = arm, effect, reference, below if reference != "real" else 0.0
        if key not in self._evidence:
            for name, gain in (key[:2], (reference, -key[3])):
                if (name, gain) not in self._right:
                    self._right[name, gain] = self._world.correct(name, gain)[None]
            interval = contrast(self._right[key[:2]], self._right[reference, -key[3]], self._blocks, self._pool_share)
            self._evidence[key] = Evidence(interval, MARGIN)
        return self._evidence[key]

    def words(self, effects: tuple[float, float], below: float) -> list[str]:
        """Return the words on both hypotheses, judged together."""
        cases = [Case(each, {name: self.of(each.arm, effect, name, below) for name in each.references})
                 for each, effect in zip(ASKED, effects)]
        return [decided.judgement.word for decided in decide(cases)]


def outcomes(contrasts: Contrasts, effect: float) -> Iterator[tuple[Interval, list[str]]]:
    """Yield, for each of `JUDGED`, an interval and the words of both hypotheses (of a contrast twice its own)."""
    arm, bound = ASKED[0].arm, ASKED[0].bound_reference
    first = contrasts.of(arm, effect, "real", 0.0)
    yield first.measured, 2 * [judge(first).word]
    for kind in JUDGED[1:]:
        own, below = 0.0 if kind == "joint_alone" else effect, 0.0 if kind == "equal" else APART
        yield contrasts.of(arm, own, bound, below).measured, contrasts.words((own, effect), below)


def judged(design: Design, root: int, numbers: range, effects: tuple[float, ...] = EFFECTS) -> np.ndarray:
    """Return estimate, low, high and the positions of two words in `WORDS`: float [worlds, effects, judged, 5]."""
    every = []
    for number in numbers:
        contrasts = Contrasts(draw(design, root, number), design.pool_share)
        every.append([[(each.estimate, each.low, each.high, *map(WORDS.index, words))
                       for each, words in outcomes(contrasts, effect)] for effect in effects])
    return np.array(every)


def rate(name: str, count: int, n: int) -> dict[str, float]:
    """Return the columns of a rate: the share and its 95 % Wilson interval."""
    wilson = stats.binomtest(int(count), int(n)).proportion_ci(.95, method="wilson")
    return {f"{name}{end}": round(float(value), 4)
            for end, value in (("", count / n), ("_low", wilson.low), ("_high", wilson.high))}


def rows(design: Design, worlds: np.ndarray, effects: tuple[float, ...] = EFFECTS) -> Iterator[dict[str, Any]]:
    """Yield one row for each effect and kind of judgement, from what `judged` returns."""
    n = len(worlds)
    for (e, effect), (j, kind) in itertools.product(enumerate(effects), enumerate(JUDGED)):
        estimate, low, high = worlds[:, e, j, :3].T
        words = np.array(WORDS)[worlds[:, e, j, 3:].astype(int)]                                   # [worlds, 2]
        true, below = (0.0 if kind == "joint_alone" else effect, effect), APART if kind in JUDGED[2:] else 0.0
        false = np.any([np.isin(words[:, each], [word for word, is_false in FALSE.items()
                                                 if is_false(true[each], true[each] + below)])
                        for each in (0, 1)], axis=0)
        of_interval = true[0] + below
        # A gain is that of an arm without an effect, where there is one.
        gain = np.isin(words[:, :1] if true[0] != true[1] else words, GAINS).any(axis=1)
        yield {
            "dominant": design.dominant, "classes": design.classes, "patients": design.n_patients,
            "units": design.n_units, "pool_share": design.pool_share, "scarce_patients": design.scarce,
            "effect": effect, "judged": kind, "worlds": n,
            **rate("coverage", ((low <= of_interval) & (of_interval <= high)).sum(), n),
            **rate("above", (low > of_interval).sum(), n), **rate("below", (high < of_interval).sum(), n),
            **rate("gain", gain.sum(), n), **rate("false_word", false.sum(), n),
            **{column: round(float((words[:, 0] == name).mean()), 4) for name, column in COLUMNS.items()},
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
    without = row["effect"] == 0 or row["judged"] == "joint_alone"
    false = row["gain"] if row["judged"] == "contrast" else row["gain_low"]
    if without and false > FALSE_GAIN[row["judged"]]:
        missed.append(f"says gain at no effect: {row['gain']:.4f} [{row['gain_low']:.4f}, {row['gain_high']:.4f}]")
    return missed


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return extremes and means over the rows of each kind of judgement, and how many miss a target."""
    missed = pd.DataFrame([{word: sum(miss.startswith(word) for miss in misses(row)) for word in (
        "covers too little", "covers too much", "says gain")} for row in table.to_dict("records")])
    by = pd.concat([table, missed], axis=1).groupby("judged", sort=False)
    at_no_effect = table[(table["effect"] == 0) | (table["judged"] == "joint_alone")].groupby("judged", sort=False)
    return pd.DataFrame({
        "rows": by.size(), "least_coverage": by["coverage"].min(), "mean_coverage": by["coverage"].mean().round(4),
        "most_coverage": by["coverage"].max(), "mean_above": by["above"].mean().round(4),
        "mean_below": by["below"].mean().round(4), "most_false_gains": at_no_effect["gain"].max(),
        "mean_false_gains": at_no_effect["gain"].mean().round(4),
        "most_false_words": by["false_word"].max(), **{word.replace(" ", "_"): by[word].sum() for word in missed}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000)
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
            print(*(row[name] for name in list(CALIBRATION.columns)[:8]), miss)
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
