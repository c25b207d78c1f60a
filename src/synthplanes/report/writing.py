"""Write the report of a profile: its page, its pictures, its counted work and the pages of all profiles."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol import counted_work
from synthplanes.protocol.arms import TRAINING_STAGES
from synthplanes.protocol.cells import Cell, Paths
from synthplanes.protocol.profiles import Profile
from synthplanes.report.markdown import counted
from synthplanes.report.pages import OF_GENERATORS, PICTURES, report, write_page
from synthplanes.report.pictures import draw_from_tables, draw_images, draw_learning, draw_reliability
from synthplanes.report.results import read_results
from synthplanes.report.results_page import write_pages


def write_report(cell: Cell) -> None:
    """Write report.md, cost.json and pictures into metrics/<profile>/, further pictures into the cell's folder.

    The runs are those that the profile requires: a missing file, or scores of other budgets and architectures, raise
    `UserError`. At the end the pages of all profiles are generated again, and the verdict is printed with the report's
    path.
    """
    paths, profile = cell.paths, cell.parameters
    results = read_results(paths.metrics, complete=True)
    _check_scores(results.tables["scores"], profile, paths.metrics / records.SCORES.name)
    cost = counted_work.collect(profile, paths) | _training_facts(paths)

    for budget in results.shares:
        draw_images(cell.out / f"real_and_synthetic_{budget}.png", paths, budget)
        draw_learning(cell.out / f"learning_{budget}.png", paths, budget)
        draw_reliability(cell.out / f"reliability_{budget}.png", paths, budget, sorted(profile.archs))
    draw_from_tables(cell.out, results)
    for name in (*PICTURES, *OF_GENERATORS):
        drawn = cell.out / f"{Path(name).stem}_{results.budget}.png"
        with records.replacing(paths.metrics / name) as temporary:
            temporary.write_bytes(drawn.read_bytes())

    records.write_json(paths.metrics / "cost.json", cost)
    write_page(paths.metrics / "report.md", report(replace(results, cost=cost)))
    write_pages(paths.root)
    print(f"{results.verdict['overall']['sentence']}\nThe report: {paths.metrics / 'report.md'}", flush=True)


def _check_scores(scores: pd.DataFrame, profile: Profile, path: Path) -> None:
    expected = {(budget, arch) for budget in profile.budgets for arch in profile.archs}
    present = set(zip(scores["budget"], scores["arch"], strict=True))
    for surplus, fault in ((expected - present, "lacks"), (present - expected, "holds the surplus")):
        if surplus:
            budget, arch = min(surplus)
            raise UserError(f"{path} {fault} scores of the budget '{budget}' and the architecture '{arch}': run "
                            "evaluate again.")


def _training_facts(paths: Paths) -> dict[str, Any]:
    """Return the evaluations on validation images, and the images of pretrained weights, as the stages recorded them.

    Raises `UserError` where two stages evaluated validation images a different number of times.
    """
    looks: dict[int, str] = {}
    pretrained: dict[str, list[str]] = {}
    for stage in TRAINING_STAGES:
        noted = records.read_json(paths.artifact(stage) / "cell.json")
        looks[noted["validation_looks"]] = stage
        pretrained |= {arch: trained["pretrained_on"] for arch, trained in noted["archs"].items()}
    if len(looks) > 1:
        described = "; ".join(f"{stage} {counted(number, 'time')}" for number, stage in sorted(looks.items()))
        raise UserError(f"The stages' classifiers looked at validation images differently often ({described}): run the "
                        "training stages again.")
    return {"validation_looks": min(looks), "pretrained_on": pretrained}
