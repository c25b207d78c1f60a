"""Is the interval calibrated? Worlds with a known effect go through the code that decides, and words are counted.

    python tests/benchmarks/calibration.py [--worlds 2000] [--worlds-at-no-effect 4000] [--processes 2]

Each cell of a grid is a design of `simulated_worlds` (which variance dominates, classes, test patients, units), a true
effect (0, half the margin, the margin, twice the margin) and what the arm is compared with:

- `one`: the interval of one contrast, with `real`;
- `equal`: `weaker` over `real` and a `real_two_stage` that is exactly as good, where the arm must win twice;
- `apart`: `weaker` over `real` and a `real_two_stage` two margins below it, where one contrast decides.

With 60 and 270 patients and the classes of FETAL_PLANES_DB the designs are the full product of dominant variance,
patients and units. With 900 patients, and with balanced classes and 60 or 270 patients, they are the third of it whose
levels add up to a multiple of three, so that every pair of levels occurs. The cells of one design share their worlds.

Written for each cell: coverage of the 95 % interval, how often it lies wholly above the effect or wholly below, the
share of every word, of "helps", and of words that are false; mean width and mean estimate in points. A rate is
[share, low, high] with its 95 % Wilson interval (1927). Targets: the Wilson interval of coverage meets 93.5 to 96.5 %;
at no effect at most 3.5 % "helps". All that misses is listed. `power` is the share of "helps" at each effect.

`equal` and `apart` miss on the upper side, and are meant to. The lower limit is intersection-union's: it lies above two
equal effects only where those of both contrasts do (Berger 1982), far less often than 2.5 %. The upper limit is
Bonferroni's: nominally it errs at most 2.5 %, and half of that where one contrast decides.

If "helps" has its nominal rate of 2.5 % at no effect, one cell of 45 passes 3.5 % by chance in 11 % of such grids with
2,000 worlds a cell, in .2 % with 4,000 (binomial): so there are 4,000 there (never fewer than `--worlds`: for a
quick look lower both), and the tests ask the committed table for them. Writes metrics/calibration.json, or what `--out`
says; the same for any number of processes.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for tests.benchmarks, which a script does not see

from synthplanes.command import run  # noqa: E402
from synthplanes.progress import Progress  # noqa: E402
from synthplanes.records import replacing  # noqa: E402
from synthplanes.statistics.blocks import Blocks  # noqa: E402
from synthplanes.statistics.clustered import Interval, contrast, weaker  # noqa: E402
from synthplanes.statistics.verdict import FINDINGS, MIN_REPETITIONS, OTHERWISE, REFUSALS, Evidence, judge  # noqa: E402
from tests.benchmarks.simulated_worlds import SPREADS, Design, World, draw  # noqa: E402

MARGIN = 0.02                             # that of the profile `phantom`
EFFECTS = (0.0, MARGIN / 2, MARGIN, 2 * MARGIN)
APART = 2 * MARGIN                        # how far the second reference lies below the first
REFERENCES = ("one", "equal", "apart")
PATIENTS, UNITS, CLASSES = (60, 270, 900), (MIN_REPETITIONS, 8, 20), ("fetal_planes", "balanced")
COVERAGE, FALSE_HELPS = (.935, .965), .035
WORDS = (*(word for word, *_ in REFUSALS), *(word for word, *_ in FINDINGS), OTHERWISE)
# Where a word says what is not so; an effect on the border of a claim is outside it.
FALSE = {"hurts": lambda effect: effect >= 0, "helps": lambda effect: effect <= 0,
         "helps, negligibly": lambda effect: not 0 < effect < MARGIN,
         "equivalent": lambda effect: abs(effect) >= MARGIN, "no worthwhile gain": lambda effect: effect >= MARGIN}
PORTION = 50                              # worlds that one process draws in a row


def grid() -> Iterator[Design]:
    for levels in itertools.product(enumerate(SPREADS), CLASSES, enumerate(PATIENTS), enumerate(UNITS)):
        (a, dominant), classes, (b, n_patients), (c, n_units) = levels
        whole, part = classes == "fetal_planes" and n_patients < 900, classes == "fetal_planes" or n_patients < 900
        if whole or part and (a + b + c) % 3 == 0:
            yield Design(dominant, classes, n_patients, n_units)


def intervals(world: World, effects: tuple[float, ...]) -> Iterator[tuple[Interval, Interval, Interval]]:
    """What the code says of one world: for every effect, an interval for each of `REFERENCES`."""
    blocks = Blocks.balanced(world.labels, world.patients)
    references = [world.correct(*which)[None] for which in (("real",), ("real_two_stage",), ("real_two_stage", -APART))]
    for effect in effects:
        arm = world.correct("arm", effect)[None]
        one, equal, apart = (contrast(arm, other, blocks) for other in references)
        yield one, weaker(one, equal), weaker(one, apart)


def judged(design: Design, root: int, numbers: range, effects: tuple[float, ...] = EFFECTS) -> np.ndarray:
    """float [worlds, effects, references, 4]: estimate, low, high, position of the word in `WORDS`."""
    return np.array([[[(found.estimate, found.low, found.high, WORDS.index(judge(Evidence(found, MARGIN)).word))
                       for found in three] for three in intervals(draw(design, root, number), effects)]
                     for number in numbers])


def rate(count: int, n: int) -> list[float]:
    """[share, low, high]: the 95 % Wilson interval of a share."""
    wilson = stats.binomtest(int(count), int(n)).proportion_ci(.95, method="wilson")
    return [round(float(value), 4) for value in (count / n, wilson.low, wilson.high)]


def cells(design: Design, found: np.ndarray, effects: tuple[float, ...] = EFFECTS) -> Iterator[dict]:
    """One record for each effect and kind of reference, from what `judged` found."""
    for (e, effect), (r, references) in itertools.product(enumerate(effects), enumerate(REFERENCES)):
        estimate, low, high, word = found[:, e, r].T
        words = np.array(WORDS)[word.astype(int)]
        false = [name for name, is_false in FALSE.items() if is_false(effect)]
        yield dict(
            dominant=design.dominant, classes=design.classes, patients=design.n_patients, units=design.n_units,
            effect=effect, references=references, worlds=len(found),
            coverage=rate(((low <= effect) & (effect <= high)).sum(), len(found)),
            above=rate((low > effect).sum(), len(found)), below=rate((high < effect).sum(), len(found)),
            helps=rate((words == "helps").sum(), len(found)), false_word=rate(np.isin(words, false).sum(), len(found)),
            words={name: rate((words == name).sum(), len(found)) for name in sorted(set(words.tolist()))},
            mean_width=_points(high - low), mean_estimate=_points(estimate))


def _points(fractions: np.ndarray) -> float:
    return round(100 * float(np.mean(fractions)), 3)


def misses(cell: dict) -> list[str]:
    """What a cell misses of the targets, in words; empty where it meets them."""
    share, low, high = cell["coverage"]
    said = []
    if high < COVERAGE[0]:
        said.append(f"covers too little: {share:.3f} [{low:.3f}, {high:.3f}]")
    if low > COVERAGE[1]:
        said.append(f"covers too much: {share:.3f} [{low:.3f}, {high:.3f}]")
    if cell["effect"] == 0 and cell["helps"][0] > FALSE_HELPS:
        said.append(f"says helps at no effect: {cell['helps'][0]:.3f}")
    return said


def summary(records: list[dict]) -> dict:
    """Extremes over the cells of each kind of reference, and how many miss a target."""
    found = {}
    for references in REFERENCES:
        own = [cell for cell in records if cell["references"] == references]
        null = [cell for cell in own if cell["effect"] == 0]
        said = [miss for cell in own for miss in misses(cell)]
        found[references] = dict(
            cells=len(own), cells_at_no_effect=len(null),
            least_coverage=min(cell["coverage"] for cell in own), most_coverage=max(cell["coverage"] for cell in own),
            mean_coverage=_mean(own, "coverage"), mean_above=_mean(own, "above"), mean_below=_mean(own, "below"),
            most_false_helps=max(cell["helps"] for cell in null),
            most_false_words=max(cell["false_word"] for cell in own),
            cells_covering_too_little=sum(miss.startswith("covers too little") for miss in said),
            cells_covering_too_much={dominant: sum(miss.startswith("covers too much") for cell in own
                                                   if cell["dominant"] == dominant for miss in misses(cell))
                                     for dominant in SPREADS},
            cells_with_too_many_false_helps=sum(miss.startswith("says helps") for miss in said))
    return found


def power(records: list[dict]) -> list[dict]:
    """The power curve of every design and kind of reference: the share of "helps" at each effect."""
    curves: dict[tuple, dict] = {}
    for cell in records:
        design = {name: cell[name] for name in ("dominant", "classes", "patients", "units", "references")}
        curves.setdefault(tuple(design.values()), {**design, "helps": {}})["helps"][str(cell["effect"])] = cell["helps"][0]
    return list(curves.values())


def _mean(records: list[dict], name: str) -> float:
    return round(float(np.mean([cell[name][0] for cell in records])), 4)


def write(path: Path, content: dict) -> None:
    """JSON with one row of a table per line: hundreds of rows that a reader can compare."""
    tables = [name for name in ("cells", "power") if name in content]
    rows = {name: ",\n".join("    " + json.dumps(row, sort_keys=True) for row in content[name]) for name in tables}
    lines = "".join(f'  "{name}": [\n{rows[name]}\n  ],\n' for name in tables)
    rest = json.dumps({name: value for name, value in content.items() if name not in tables}, sort_keys=True, indent=2)
    with replacing(path) as temporary:
        temporary.write_text("{\n" + lines + rest[2:] + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--worlds-at-no-effect", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--root-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "metrics" / "calibration.json")
    arguments = parser.parse_args()
    designs = list(grid())
    progress = Progress("calibration", len(designs), "designs")
    records = []
    for number, found in enumerate(all_worlds(designs, arguments), start=1):
        records += all_cells(*found)
        progress(number)
    missed = [" ".join(str(cell[name]) for name in ("dominant", "classes", "patients", "units", "effect", "references"))
              + " " + miss for cell in records for miss in misses(cell)]
    overall = summary(records)
    write(arguments.out, dict(
        cells=records, summary=overall, missed=missed, root_seed=arguments.root_seed, margin=MARGIN,
        power=power(records), targets=dict(coverage=COVERAGE, false_helps=FALSE_HELPS)))
    print(*missed, json.dumps(overall, indent=2), sep="\n")


def all_worlds(designs: list[Design], arguments: argparse.Namespace) -> Iterator[tuple[Design, list[np.ndarray]]]:
    """What `judged` finds of the worlds of each design: of the first for all effects, of the rest at no effect only."""
    spans = [(0, arguments.worlds, EFFECTS), (arguments.worlds, arguments.worlds_at_no_effect, EFFECTS[:1])]
    portions = [(range(first, min(first + PORTION, stop)), effects)
                for start, stop, effects in spans for first in range(start, stop, PORTION)]
    # One queue for all designs: no process waits for the last portion of a design.
    found = joblib.Parallel(n_jobs=arguments.processes, return_as="generator")(
        joblib.delayed(judged)(design, arguments.root_seed, *portion) for design in designs for portion in portions)
    for design in designs:
        yield design, list(itertools.islice(found, len(portions)))


def all_cells(design: Design, found: list[np.ndarray]) -> Iterator[dict]:
    """The cells of one design, from its portions of worlds: those at no effect rest on all of them."""
    yield from cells(design, np.concatenate([worlds[:, :1] for worlds in found]), EFFECTS[:1])
    yield from cells(design, np.concatenate([worlds[:, 1:] for worlds in found if worlds.shape[1] > 1]), EFFECTS[1:])


if __name__ == "__main__":
    run(main)
