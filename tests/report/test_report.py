"""The report: complete, from committed files alone, the same every time, deaf to names that look like markup."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.arms import TRAINING_STAGES
from synthplanes.protocol.cells import read_cell
from synthplanes.report import pictures, tables
from synthplanes.report.markdown import between, points
from synthplanes.report.pages import grid, report
from synthplanes.report.results import TABLES, read_results
from synthplanes.report.writing import write_report, write_report_again
from tests.fake_checkout import ARCH, BUDGET, CLASSES, NAME, make_checkout

BALANCED = "metric == 'balanced_accuracy' and arch == 'mean'"
HEADINGS = ("Every comparison", "Accuracy of every arm", "Are the references trained", "Controls", "Other ways",
            "For whom", "Are the synthetic images", "Without looking", "Where the uncertainty", "The same differences",
            "Data", "What each arm was given", "Cost", "What the words mean", "Where these numbers come from")


def test_the_page_opens_with_both_verdicts_and_the_numbers_of_every_contrast_that_decides(metrics):
    judged = records.read_json(metrics.folder / "verdict.json")["hypotheses"]
    title, paper, joint, headline = metrics.page().split("\n\n")[:4]
    assert title == "# Do synthetic images help? Profile `tiny`"
    assert [paper, joint] == [f"**{judged[name]['sentence']}**" for name in ("paper_order", "joint")]
    wanted = [("pretraining on synthetic images", "fair"), ("pretraining on synthetic images", "fair_two_stage"),
              *(("joint training", name) for name in ("joint", "joint_two_stage", "joint_duplicate")),
              ("naive", "naive")]
    rows = headline.splitlines()[2:]
    assert len(rows) == len(wanted)
    for line, (question, name) in zip(rows, wanted, strict=True):
        row = metrics.row("contrasts", f"{BALANCED} and contrast == '{name}'")
        assert line == (
            f"| {question} | `{row.arm}` against `{row.reference}` | P+T against {'T' if name == 'naive' else 'P+T'} | "
            f"{points(row.estimate)} ({between(row.low, row.high)}) | refused: too few repetitions |")
    metrics.change("contrasts", lambda rows: rows.assign(
        word=np.where(rows["contrast"] == "joint_duplicate", "no worthwhile gain", rows["word"])))
    assert "| `joint` against `duplicate_joint` | P+T against P+T |" in metrics.page()
    assert metrics.page().split("\n\n")[3].splitlines()[6].endswith("| no worthwhile gain |")


def test_a_result_whose_test_images_were_scored_before_begins_with_that(metrics):
    assert "exploratory" not in metrics.page()
    scored(metrics.folder, "aa", "aa", "bb")
    assert metrics.page().split("\n\n")[1] == (
        "This result is exploratory: these test images have been scored 3 times, and earlier scores may have shaped "
        "later choices.")


def scored(folder, *plans: str) -> None:
    """Write a log of test access with one scoring under each plan."""
    records.write_table(folder / "test_access_log.csv", records.TEST_ACCESS.frame(
        dict(access=number, analysis_plan=plan, predictions=f"{number:02}") for number, plan in enumerate(plans, 1)),
        records.TEST_ACCESS)


def test_joint_training_that_was_not_judged_decides_nothing(metrics):
    assert "There is no verdict on" not in metrics.page()
    metrics.change_json("verdict", lambda verdict: verdict["hypotheses"].pop("joint"))
    metrics.change("contrasts", lambda rows: rows.assign(confirmatory=rows["confirmatory"] & (rows["arm"] != "joint")))
    paper, none, headline = metrics.page().split("\n\n")[1:4]
    assert paper.startswith("**No verdict on pretraining") and none == (
        "There is no verdict on joint training, because not all of its arms were run.")
    assert headline.count("\n") == 4 and "`joint`" not in headline
    for part in ("Where the uncertainty", "The same differences"):
        assert "`joint`" not in metrics.part(part)
    part = metrics.part("Every comparison")
    assert "| joint training |" not in part and "`joint` against `duplicate_joint` |" in part
    assert "also that against" not in part and "against `real_two_stage` for pretraining on synthetic images." in part


def test_an_arm_of_one_architecture_among_several_is_named_with_it(metrics):
    def some(rows):
        own = rows["arm"] == "joint"
        if "contrast" in rows:
            own |= rows["contrast"].str.startswith("joint")
        return pd.concat([rows.assign(arch="attention")[~own], rows.assign(arch="residual"), rows[~own]])

    for name in ("contrasts", "components", "levels"):
        metrics.change(name, some)
    headline = metrics.page().split("\n\n")[3].splitlines()
    assert headline[0].startswith("| question | architecture | comparison |")
    assert [line.split(" | ")[1] for line in headline[2:]] == [*2 * ["mean"], *3 * ["residual"], "mean"]
    part = metrics.part("Where the uncertainty")
    firsts = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    assert firsts == [
        "`synthetic_then_real` against `real`", "`synthetic_then_real` against `real_two_stage`",
        *(f"`joint` against `{name}` (residual)" for name in ("real", "real_two_stage", "duplicate_joint")),
        "`real`", "`synthetic_then_real`", "`joint` (residual)"]


def test_the_hypotheses_stand_with_their_p_values(metrics):
    def judge(verdict):
        verdict["hypotheses"]["joint"].update(word="gain, size open", p_value=0.0102, p_value_holm=0.0204)
        verdict["hypotheses"]["paper_order"].update(word="inconclusive", p_value=0.3, p_value_holm=0.3)

    metrics.change_json("verdict", judge)
    rows = metrics.part("Every comparison").split("\n\n")[2].splitlines()[2:]
    assert rows == [
        "| pretraining on synthetic images | `synthetic_then_real` | `real`, `real_two_stage` | 0.300 | 0.300 | "
        "inconclusive |",
        "| joint training | `joint` | `real`, `real_two_stage`, `duplicate_joint` | 0.010 | 0.020 | gain, size open |"]
    assert "for joint training also that against `real_equal_exposure`." in metrics.part("Every comparison")


def test_what_decides_is_drawn_as_such_at_the_verdicts_budget_alone(metrics, monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(pictures.intervals, "forest", lambda path, panels, margin: drawn.update(panels))

    def deciding():
        pictures.draw_contrasts(tmp_path / "a.png", read_results(metrics.folder), BUDGET)
        (*_, synthetic), rows = next(iter(drawn.items()))
        assert synthetic == "synthetic" and "joint against synthetic_then_real" not in set(rows["label"])
        assert {"synthetic_then_real against real", "joint against duplicate_joint"} <= set(rows["label"])
        return rows["label"][rows["role"] == "confirmatory"].tolist()

    paper = ["synthetic_then_real against real", "synthetic_then_real against real_two_stage"]
    assert deciding() == [*paper, *(f"joint against {name}" for name in ("real", "real_two_stage", "duplicate_joint"))]
    metrics.change("contrasts", lambda rows: rows.assign(confirmatory=rows["confirmatory"] & (rows["arm"] != "joint")))
    assert deciding() == paper


def test_it_holds_every_part(metrics):
    page = metrics.page()
    assert not [heading for heading in HEADINGS if not re.search(rf"^## {heading}", page, re.MULTILINE)]
    level = metrics.row("levels", f"{BALANCED} and arm == 'synthetic_then_real'")
    assert f"{100 * level.estimate:.1f} ({100 * level.low:.1f} to" in metrics.part("Accuracy")
    assert "| exact within role | 3 | 6 | keep |" in page and "taken out: 2 (exact within role)" in page
    assert "validation images are: 16.7 %." in page
    assert "avx2 instructions, 2 threads, torch 2.0.0" in page and "1 scoring of test images under 1 analysis" in page
    assert "undertrained | refused:" in page and "2.0 points" in page
    assert ("to get a word, raise `recipe.stage_1_updates` and `recipe.stage_2_updates`, or the number of validation "
            "patients |") in page
    assert "below 0 and, outside of the hypotheses, p (Holm) is below .05 |" in page
    assert "| equivalent | the 90 % interval is within the margin on both sides of 0 |" in page


def test_every_reference_has_its_convergence_check(metrics):
    part = metrics.part("Are the references")
    for name, met in (("real", "yes"), ("real_two_stage", "yes"), ("duplicate_joint", "no")):
        row, = metrics.table("convergence").query("reference == @name").itertuples()
        assert f"| `{name}` | {points(row.gain, 2)} | {points(row.upper, 2)} | +2.00 | 2 | 24 (12) | {met} |" in part
    metrics.change("convergence", lambda rows: rows.assign(upper=np.nan))
    assert metrics.part("Are the references").count("| unknown | +2.00 |") == 3


def test_refused_comparisons_say_what_to_do(metrics):
    assert "numbers beside this word are no effects. To get a word, raise `replication.seeds`" in metrics.page()


def test_unknown_ceilings_and_absent_tables_are_explained(metrics):
    page = metrics.page()
    assert "A class without validation images has no ceiling." in page and "These results lack" not in page
    metrics.change("audit", lambda rows: rows.assign(ceiling=rows["ceiling"].where(rows["label"] == "all")))
    for name in ("confusion", "generator_curve"):
        (metrics.folder / f"{name}.csv").unlink()
    page = metrics.page()
    assert "The ceilings of single classes were not recorded with these results." in page
    assert "These results lack `generator_curve.csv` and `confusion.csv`, which a run writes today." in page


def test_several_analysis_plans_are_explained(metrics):
    assert "makes another plan" not in metrics.page()
    scored(metrics.folder, "aa", "bb")
    page = metrics.page()
    assert "2 scorings of test images under 2 analysis plans. Each change of a rule" in page


def test_it_is_made_from_committed_files_alone(metrics, finished):
    committed = (finished / "metrics" / NAME / "report.md").read_text()
    assert metrics.page() == committed
    before = (metrics.folder / "contrasts.png").read_bytes()
    for name in ("report.md", "contrasts.png"):
        (metrics.folder / name).unlink()
    write_report_again(metrics.folder)
    assert (metrics.folder / "report.md").read_text() == committed
    assert (metrics.folder / "contrasts.png").read_bytes() == before


def test_a_part_without_its_table_is_one_sentence(metrics):
    for path in metrics.folder.iterdir():
        if path.name not in ("verdict.json", "analysis_plan.json"):
            path.unlink()
    page = metrics.page()
    for heading in set(HEADINGS) - {"What the words mean", "Where these numbers come from"}:
        part = page.split(f"## {heading}")[1].split("\n## ")[0].split("\n", 1)[1].strip()
        assert part.endswith(".") and "|" not in part and len(part) < 90, part
    assert "![" not in page


def test_what_never_decides_stands_beside_what_does(metrics):
    part = metrics.part("The same differences")
    row = metrics.row("contrasts", f"{BALANCED} and contrast == 'fair'")
    assert f"({between(row.low, row.high)}) | {between(row.bootstrap_low, row.bootstrap_high)} |" in part
    assert "cannot give less than 0.5 with 2 seeds" in part and "which decide nothing" in part
    image = metrics.row("components", f"{BALANCED} and contrast == 'fair_two_stage' and component == 'image_x_seed'")
    part = metrics.part("Where the uncertainty")
    assert f"{100 * image.standard_deviation:.1f} ({100 * image.share:.0f} %)" in part
    assert re.search(r"^\| `real` \| unknown \|", part, re.MULTILINE)  # one generator
    # A contrast and an arm have the same name, and each has a row of its own.
    for name, own in (("`joint` against `real`", "contrast"), ("`joint`", "arm")):
        image = metrics.row("components", f"{BALANCED} and {own} == 'joint' and component == 'image_x_seed'")
        line, = re.findall(rf"^\| {name} \|.*$", part, re.MULTILINE)
        assert line.endswith(f"| {100 * image.standard_deviation:.1f} ({100 * image.share:.0f} %) |")


def test_real_data_baselines_stand_beside_the_synthetic_set(metrics):
    part = metrics.part("Other ways")
    own, over = (metrics.row("contrasts", f"{BALANCED} and contrast == '{name}'")
                 for name in ("by_augmentation", "over_augmented"))
    assert own.arm == over.reference == "real_augmented" and own.estimate > 0 > over.estimate
    own_gain, gain_over = (f"{points(row.estimate)} ({between(row.low, row.high)})" for row in (own, over))
    line = f"| `real_augmented` | a strong augmentation policy | {own_gain} | {gain_over} | unknown |"
    assert line in part  # unknown: two seeds, so the words are refused
    assert "`real_distilled`" in part and "real_by_patient" not in part
    metrics.change("contrasts", lambda rows: rows.assign(reason="", word="gain, size open"))
    assert re.search(r"^\| `real_augmented` .*\| yes \|$", metrics.part("Other ways"), re.MULTILINE)
    metrics.change("contrasts", lambda rows: rows.assign(word="equivalent"))
    assert re.search(r"^\| `real_augmented` .*\| no \|$", metrics.part("Other ways"), re.MULTILINE)
    metrics.change("contrasts", lambda rows: rows[rows["role"] != "baseline"])
    assert "This profile runs no real-data baselines." in metrics.part("Other ways")


def test_several_budgets_are_columns_by_share(metrics):
    def level(arm, arch, budget, estimate, low=np.nan, high=np.nan, metric="balanced_accuracy"):
        return dict(arm=arm, arch=arch, budget=budget, metric=metric, estimate=estimate, low=low, high=high)

    metrics.change("levels", lambda _: records.LEVELS.frame([
        level("synthetic", "residual", "all", 0.9), level("synthetic", "mean", "all", 0.91, 0.85, 1.01),
        level("real", "mean", "few", 0.5), level("real", "mean", "all", 0.8, 0.7, 0.9),
        level("oracle", "residual", "few", 0.6, 0.5, 0.7), level("real", "mean", "elsewhere", 0.1),
        level("joint", "mean", "few", np.nan), level("real", "mean", "all", 0.0, metric="accuracy")]))
    metrics.change_json("analysis_plan", lambda plan: plan["protocol"].update(budgets={"all": 1.0, "few": 0.1}))
    header, *rows = tables.levels(read_results(metrics.folder)).splitlines()
    assert header == "| arm | 10 % of the patients | 100 % of the patients |"
    assert rows == ["| `real` | 50.0 | 80.0 (70.0 to 90.0) |", "| `synthetic` |  | 91.0 (85.0 to 100.0) |",
                    "| `oracle` (residual) | 60.0 (50.0 to 70.0) |  |"]


def test_several_architectures_are_columns_with_their_mean_first(metrics):
    metrics.change("levels", lambda rows: pd.concat([
        rows.assign(arch="residual"), rows.assign(arch="attention"), rows]))
    metrics.change("contrasts", lambda rows: pd.concat([rows.assign(arch="residual", estimate=0.25), rows]))
    page = metrics.page()
    assert "| arm | mean | attention | residual |" in page
    by_architecture = page.split("By architecture:")[1].split("\n## ")[0]
    assert by_architecture.count("| residual | +25.0 (") == 6 and "| mean |" not in by_architecture
    assert "+25.0" not in page.split("By architecture:")[0]


def test_the_verdicts_budget_is_shown_in_detail_and_the_others_by_share(metrics):
    whole = "a whole"  # by name before the scarce one, by share after it
    metrics.change_json("analysis_plan", lambda plan: plan["protocol"].update(budgets={whole: 1.0, BUDGET: 0.1}))
    for name in TABLES:
        if name != "folds":
            metrics.change(name, lambda rows: pd.concat([rows.assign(budget=whole), rows]))
    metrics.change("contrasts", lambda rows: rows.assign(
        estimate=np.where(rows["budget"] == whole, 0.25, 0.125),
        reason=np.where(rows["budget"] == whole, "", "of seeds")))
    page = metrics.page()
    assert "+25.0" not in page.split("## Every comparison")[0]  # the first page speaks of the verdict's budget
    assert f"Refused as *too few repetitions* at budget {BUDGET}: of seeds." in page
    assert f"at budget {whole}: of seeds" not in page
    for heading in ("Every comparison", "Are the references trained", "Controls", "Without looking"):
        part = page.split(f"## {heading}")[1].split("\n## ")[0]
        part = part[part.index("| budget |"):]
        assert 0 < part.index(f"| {BUDGET} |") < part.index(f"| {whole} |"), heading
    for heading in ("For whom", "Where the uncertainty", "Cost"):
        assert f"budget {BUDGET}" in page.split(f"## {heading}")[1].split("\n## ")[0], heading
    assert "| slice | 10 % | 100 % |" in page and f"label fidelity, %, {whole}" in page


def test_weights_that_had_learned_before_are_named(finished, tmp_path):
    root = tmp_path / "checkout"
    shutil.copytree(finished, root)
    assert "All classifiers begin from random weights." in (root / "metrics" / NAME / "report.md").read_text()
    for stage in TRAINING_STAGES:
        path = root / "artifacts" / stage / NAME / "cell.json"
        noted = records.read_json(path)
        noted["archs"][ARCH]["pretrained_on"] = ["ImageNet", "<b>phantom</b>"]
        records.write_json(path, noted)
    write_report(read_cell("report", NAME, root))
    page = (root / "metrics" / NAME / "report.md").read_text()
    assert "begin from trained weights: residual (from ImageNet, &lt;b&gt;phantom&lt;/b&gt;)" in page
    assert "Every classifier looks 1 time at validation images" in page


def test_a_cross_validation_says_so(metrics):
    metrics.change("contrasts", lambda rows: rows.assign(n_generators=2))
    assert "a bootstrap of patients and generators" in metrics.page()
    page = metrics.page()
    assert "Cross-validation" not in page and "Fold by fold" not in page

    def cross(plan):
        plan["folds"], plan["protocol"]["prepare"]["cross_validation"] = 2, "scanners"

    metrics.change_json("analysis_plan", cross)
    metrics.change_json("verdict", lambda verdict: verdict["overall"].update(n_generators=2))
    page = metrics.page()
    assert "Cross-validation by scanners: every generator has test patients of its own" in page
    assert "a bootstrap of patients and seeds" in page and "because each has patients of its own" in page
    assert "An image counts once in every fold" in page


def test_folds_stand_one_by_one_and_as_observations(metrics):
    metrics.change_json("analysis_plan", lambda plan: plan.update(folds=2))

    def fold(name, scanners, n_images, n_patients, n_classes, estimate, low=np.nan, high=np.nan, p_value=np.nan):
        return dict(budget=BUDGET, contrast="fair", arm="joint", reference="real", fold=name, scanners=scanners,
                    n_images=n_images, n_patients=n_patients, n_classes=n_classes, estimate=estimate, low=low,
                    high=high, p_value=p_value)

    metrics.change("folds", lambda _: records.FOLDS.frame([
        fold("0", "E6, S|10", 70, 20, 2, -.01), fold("1", "", 60, 19, 1, -.03),
        fold("mean", "", 130, 39, 2, -.02, -.05, .01, .1)]))
    part = metrics.part("Fold by fold")
    assert r"| 0 | E6, S\|10 | 70 (20) | 2 | -1.0 |  |" in part and "| 1 |  | 60 (19) | 1 | -3.0 |  |" in part
    assert "| mean |  | 130 (39) | 2 | -2.0 (-5.0 to +1.0) | 0.100 |" in part


def test_numbers_that_nobody_knows_are_called_unknown(metrics):
    metrics.change("contrasts", lambda rows: rows.assign(bootstrap_low=np.nan, bootstrap_high=np.nan, n_bootstrap=0))
    metrics.change("components", lambda rows: rows.assign(
        standard_deviation=np.where(rows["component"] == "seed", 0.0, np.nan), clipped=rows["component"] == "seed"))
    page = metrics.page()
    assert "| unknown | 0 (estimated below 0) | unknown |" in page and ") | unknown | 0." in page
    metrics.change("contrasts", lambda rows: rows.assign(estimate=np.nan))
    metrics.change("components", lambda rows: rows[:0])
    page = metrics.page()
    assert "No pair of runs can be formed" in page and "No table of runs and patients can be formed" in page


def test_it_links_to_committed_pictures_only(metrics, finished):
    links = re.findall(r"\]\(([^)]+)\)", metrics.page())
    assert links == ["real_and_synthetic.png", "contrasts.png"]
    for link in links:
        assert 0 < (metrics.folder / link).stat().st_size < 90_000
    assert str(finished) not in metrics.page()
    (metrics.folder / links[0]).unlink()
    assert re.findall(r"\]\(([^)]+)\)", metrics.page()) == links[1:]


def test_further_pictures_lie_among_the_artifacts(finished):
    drawn = {path.name for path in (finished / "artifacts" / "report" / NAME).iterdir()}
    assert drawn == {"accuracy.png", "learning_curves.png", *(f"{name}_{BUDGET}.png" for name in (
        "contrasts", "confusion", "seeds", "reliability", "real_and_synthetic"))}


def test_an_accuracy_is_drawn_with_its_limits_within_0_and_1_or_without(metrics, monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(pictures.intervals, "levels", lambda path, groups, chance: drawn.update(groups, chance=chance))
    metrics.change("levels", lambda rows: rows.assign(
        estimate=0.9, low=np.where(rows["arm"] == "real", np.nan, 0.8),
        high=np.where(rows["arm"] == "real", np.nan, 1.1)))
    pictures.draw_from_tables(tmp_path, read_results(metrics.folder))
    limits = {row.label: (row.low, row.high) for row in drawn[""].itertuples()}
    assert limits["joint"] == (0.8, 1.0) and np.isnan(limits["real"]).all() and drawn["chance"] == 0.5


def test_a_column_is_an_expression_of_its_row_and_what_varies_has_one_of_its_own():
    rows = pd.DataFrame({"gain": [0.25, 0.5], "budget": ["few", "a_ll"], "arch": "mean"})
    assert grid(rows, {"gain": "gain|points", "seen": "'yes' if gain > 0.3 else 'no'"}).splitlines() == [
        "| gain | budget | seen |", "| +25.0 | few | no |", r"| +50.0 | a\_ll | yes |"]
    assert "budget" not in grid(rows[:1], {"gain": "gain|points"})
    with pytest.raises(UndefinedError, match="loss"):
        grid(rows, {"loss": "loss|points"})


def test_foreign_text_stays_text(metrics):
    page = metrics.page()
    assert "<script>" not in page and "<b>" not in page and r"Fetal \| brain" in page
    header, n_rows = None, 0
    for line in page.splitlines():
        cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("| ") else None
        header = header if header and cells else cells  # of the table that the line belongs to
        if cells and "Fetal" in line:
            assert cells == header, line  # whatever the name holds
            n_rows += 1
    assert n_rows == 3  # a class in the slices, in the audit and in the data


def test_slices_are_described_and_not_judged(metrics):
    part = metrics.part("For whom")
    row = metrics.row("slices", f"{BALANCED} and slice == 'scanner' and arm == 'synthetic_then_real' "
                      "and reference == 'real'")
    assert row.in_training == "seen" and row.low == row.low
    line = next(line for line in part.splitlines() if line.startswith("| scanner: a (seen) | 120 (60) |"))
    assert f"{points(row.estimate)} ({between(row.low, row.high)})" in line
    held = len(re.findall(r"\d \(-[\d.]+ to \+", part))
    outside, total = map(int, re.search(r"(\d+) of (\d+) intervals .* about 0\.4", part).groups())
    assert outside == total - held and total == 8
    assert not any(word in part for word in ("worthwhile", "harm", "inconclusive", "equivalent", "p ="))


@pytest.mark.parametrize("low, high, outside", [(-.05, -.01, 8), (.01, .05, 8), (-.01, .01, 0)])
def test_intervals_on_either_side_of_0_are_counted(metrics, low, high, outside):
    metrics.change("slices", lambda rows: rows.assign(low=low, high=high))
    assert f"{outside} of 8 intervals" in metrics.page()


def test_slices_without_numbers_say_why(metrics):
    def spoil(rows):
        scanner, lone = rows["slice"] == "scanner", (rows["value"] == CLASSES[0]) & (rows["arm"] == "real")
        return rows.assign(estimate=rows["estimate"].mask(scanner), low=rows["low"].mask(scanner | lone),
                           why_no_number=np.where(scanner, "too <few> patients", np.where(lone, "nothing varies", "")))

    metrics.change("slices", spoil)
    assert "a gain may be one of training time" not in metrics.part("For whom")  # `duplicate_joint` has no part in it
    metrics.change_json("verdict", lambda verdict: verdict["converged"].update(real_two_stage=False))
    part = metrics.part("For whom")
    assert "| scanner: a (seen) | 120 (60) | none | none | none | none |" in part
    assert "No number (too &lt;few&gt; patients): scanner: a (seen)." in part
    assert r"No interval (nothing varies): class: Fetal \| brain." in part
    assert "a gain may be one of training time" in part


def test_rules_without_pixels_stand_beside_their_share_of_unseen_images(metrics):
    part = metrics.part("Without looking")
    assert "| always the most frequent training class | 50.0 | 0.0 |" in part
    assert "operator holds the largest share in training | none | unknown |" in part


def test_a_control_that_fails_stands_out(metrics):
    metrics.change("controls", lambda rows: rows.assign(as_expected="no"))
    part = metrics.part("Controls")
    assert "| `resampled_then_real` | no | too few repetitions | **no** |" in part
    assert "**no** in a row that must gain: " in part and "**no** in a row that must not gain: " in part
    metrics.change("controls", lambda rows: rows.assign(as_expected=np.where(rows["must_gain"], "yes", "no")))
    assert "row that must gain: " not in metrics.part("Controls")


def test_the_same_files_give_the_same_bytes_and_the_run_ends_with_the_verdict(finished, tmp_path, capsys):
    root = make_checkout(tmp_path)
    write_report(read_cell("report", NAME, root))
    verdict = records.read_json(root / "metrics" / NAME / "verdict.json")
    path = root / "metrics" / NAME / "report.md"
    assert capsys.readouterr().out == f"{verdict['overall']['sentence']}\nThe report: {path}\n"
    for folder in (f"metrics/{NAME}", f"artifacts/report/{NAME}"):
        for path in (root / folder).iterdir():
            assert path.read_bytes() == (finished / folder / path.name).read_bytes(), path.name


def test_the_costs_include_the_making_of_the_images(metrics):
    cost = records.read_json(metrics.folder / "cost.json")
    arm = {arm["arm"]: arm for arm in cost["arms"]}["synthetic_then_real"]
    # own 2 x 100, first stage 2 x 100, generator 512 + 64, guide 40, sampling 30
    assert arm["total"]["forward_equivalents"] == 3 * (200 + 200 + 512 + 40) + 64 + 30
    assert f"| {arm['total']['forward_equivalents']:,} |" in metrics.part("Cost")


@pytest.mark.parametrize("lost", [f"artifacts/joint/{NAME}/cost.json", f"metrics/{NAME}/verdict.json",
                                  f"metrics/{NAME}/audit.csv", f"metrics/{NAME}/scores.csv",
                                  f"metrics/{NAME}/generator_curve.csv",
                                  f"artifacts/finetune/{NAME}/cell.json",
                                  f"artifacts/synthetic/{NAME}/{BUDGET}/r0/images.npy"])
def test_a_missing_file_is_refused_by_name(tmp_path, lost):
    root = make_checkout(tmp_path)
    (root / lost).unlink()
    with pytest.raises(UserError, match=f"{re.escape(lost)} does not exist"):
        write_report(read_cell("report", NAME, root))
    assert not (root / "metrics" / NAME / "report.md").exists()


def test_scores_of_other_cells_are_refused(tmp_path):
    root = make_checkout(tmp_path)
    path = root / "metrics" / NAME / "scores.csv"
    scores = records.read_table(path, records.SCORES)
    records.write_table(path, scores.assign(arch="transformer"), records.SCORES)
    with pytest.raises(UserError, match="lacks scores of the budget 'scarce' and the architecture 'residual'"):
        write_report(read_cell("report", NAME, root))
    records.write_table(path, pd.concat([scores, scores.assign(budget="whole")]), records.SCORES)
    with pytest.raises(UserError, match="holds the surplus scores of the budget 'whole'"):
        write_report(read_cell("report", NAME, root))


def test_stages_that_looked_differently_often_are_refused(tmp_path):
    root = make_checkout(tmp_path)
    path = root / "artifacts" / "joint" / NAME / "cell.json"
    records.write_json(path, records.read_json(path) | {"validation_looks": 3})
    with pytest.raises(UserError, match=r"differently often \(finetune 1 time; joint 3 times\)"):
        write_report(read_cell("report", NAME, root))


def test_the_page_has_no_trailing_blanks_or_gaps(metrics):
    page = report(read_results(metrics.folder))
    assert page.endswith(".\n") and "\n\n\n" not in page and not re.search(r"[ \t]$", page, re.MULTILINE)
