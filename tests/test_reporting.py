"""The report: complete, the same every time, deaf to names that look like markup, and strict about its cells."""

import re
import shutil

import pytest
from tests.fake_checkout import ARCH, BUDGET, CLASSES, NAME, folders, make_checkout, tiny_profile

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.report.markdown import escaped, p_value, points, table
from synthplanes.report.budgets import by_arm, low_data
from synthplanes.report.writing import write_report


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path)


def report(root, **others):
    write_report(NAME, others.get("profile", tiny_profile()), folders(root), root / "metrics" / NAME,
                 root / "artifacts" / "report" / NAME)
    return (root / "metrics" / NAME / "report.md").read_text()


def test_the_page_opens_with_the_verdict_and_holds_every_part(checkout):
    page = report(checkout)
    verdict = records.read_json(checkout / "metrics" / NAME / "verdict.json")
    first = page.splitlines()[2]
    assert first.startswith("**") and verdict["overall"]["sentence"][:40] in first
    for part in ("Real beside synthetic", "naive contrast", "uncertainty comes from", "resampled", "Plateau",
                 "Controls", "Rivals", "Audit", "Cost", "Data", "words mean"):
        assert re.search(rf"^## .*{part}", page, re.MULTILINE), part
    level = next(row for row in verdict["levels"] if (row["arm"], row["arch"], row["metric"]) ==
                 ("synthetic_then_real", "mean", "balanced_accuracy"))
    assert f"{100 * level['estimate']:.1f} ({100 * level['low']:.1f} to" in page
    assert "| exact within role | 3 |" in page
    assert "1 of 6 synthetic" in page
    fair = next(row for row in verdict["records"] if (row["contrast"], row["arch"], row["metric"]) ==
                ("fair", "mean", "balanced_accuracy"))
    assert f"at equal updates the difference is {points(fair['estimate'])} points" in page


def test_what_never_decides_stands_beside_what_does(checkout):
    page, verdict = report(checkout), records.read_json(checkout / "metrics" / NAME / "verdict.json")
    place = dict(contrast="fair", arch="mean", metric="balanced_accuracy")
    row, record = (next(row for row in verdict[name] if place.items() <= row.items())
                   for name in ("resampling", "records"))
    assert (f"| {points(record['low'])} to {points(record['high'])} | {points(row['bootstrap_low'])} to "
            f"{points(row['bootstrap_high'])} | {p_value(record['p_value'])} | {p_value(row['sign_flip_p'])} | "
            f"{p_value(row['sign_flip_p_family'])} |") in page
    assert "cannot give less than 0.5 with 2 seeds" in page and "What decides is the interval" in page
    image = next(row for row in verdict["variance_components"]
                 if {**place, "component": "image"}.items() <= row.items())
    assert f"{100 * image['standard_deviation']:.1f} ({100 * image['share']:.0f} %)" in page
    assert re.search(r"^\| `real` \| scarce \| mean \| unknown \|", page, re.MULTILINE)  # one generator


def test_rivals_stand_beside_the_synthetic_set(checkout):
    page, verdict = report(checkout), records.read_json(checkout / "metrics" / NAME / "verdict.json")
    own, over = (next(row for row in verdict["records"] if (row["contrast"], row["arch"], row["metric"]) ==
                      (name, "mean", "balanced_accuracy")) for name in ("by_augmentation", "over_augmented"))
    assert own["arm"] == over["reference_arm"] == "real_augmented" and own["role"] == over["role"] == "rival"
    assert own["estimate"] > 0 > over["estimate"]
    assert (f"| `real_augmented` | a strong augmentation policy | scarce | mean | {points(own['estimate'])} "
            f"({points(own['low'])} to {points(own['high'])}) | {points(over['estimate'])}") in page
    assert re.search(r"^\| `real_distilled` \| half of every target from .*\| (yes|no|unknown) \|$", page, re.MULTILINE)
    assert "real_by_patient" not in page
    for row in verdict["records"]:
        row["reason"] = "of this"
    records.write_json(checkout / "metrics" / NAME / "verdict.json", verdict)
    assert re.search(r"^\| `real_augmented` \| a strong .*\| unknown \|$", report(checkout), re.MULTILINE)
    verdict["records"] = [row for row in verdict["records"] if row["role"] != "rival"]
    records.write_json(checkout / "metrics" / NAME / "verdict.json", verdict)
    assert "This profile runs no rivals." in report(checkout)


def test_several_budgets_make_curves(checkout):
    def level(arm, arch, budget, estimate, low=None, high=None):
        return dict(arm=arm, arch=arch, budget=budget, metric="balanced_accuracy", estimate=estimate, low=low, high=high)

    verdict = {"levels": [
        level("synthetic", "residual", "all", 0.9), level("synthetic", "mean", "all", 0.91, 0.85, 1.01),
        level("real", "mean", "few", 0.5), level("real", "mean", "all", 0.8, 0.7, 0.9),
        level("oracle", "residual", "few", 0.6, 0.5, 0.7), level("real", "mean", "elsewhere", 0.1),
        level("mixed", "mean", "few", None)]}
    verdict["levels"].append(verdict["levels"][3] | dict(metric="accuracy", estimate=0.0))
    budgets = {"all": 1.0, "few": 0.1}
    assert {name: [(share, found["estimate"]) for share, found in curve.items()]
            for name, curve in by_arm(verdict, budgets).items()} == {
        "real": [(0.1, 0.5), (1.0, 0.8)], "synthetic": [(1.0, 0.91)], "oracle, residual": [(0.1, 0.6)]}
    header, _, *rows = low_data(verdict, budgets)[-1].splitlines()
    assert header == "| arm | 10 % | 100 % |"
    assert rows == ["| `real` | 50.0 | 80.0 (70.0 to 90.0) |", "| `synthetic` |  | 91.0 (85.0 to 100.0) |",
                    "| `oracle` (residual) | 60.0 (50.0 to 70.0) |  |"]
    assert low_data(verdict, {"all": 1.0}) == [] and "With fewer patients" not in report(checkout)


def test_budgets_stand_by_share_and_the_naive_sentence_is_of_the_one_that_was_planned(checkout):
    whole = "a whole"  # by name before the scarce one, by share after it
    for folder in folders(checkout).values():
        for own in [*folder.glob(BUDGET)]:
            shutil.copytree(own, own.with_name(whole))
    metrics = checkout / "metrics" / NAME
    verdict = records.read_json(metrics / "verdict.json")
    verdict["plateau"][whole] = verdict["plateau"][BUDGET]
    for name in ("levels", "records", "resampling", "slices"):
        verdict[name] += [row | dict(budget=whole) for row in verdict[name]]
    for row in verdict["records"]:
        row["estimate"], row["reason"] = (0.25, "") if row["budget"] == whole else (0.125, "of seeds")
    records.write_json(metrics / "verdict.json", verdict)
    scores = records.read_table(metrics / "scores.csv", records.SCORES)
    records.write_table(metrics / "scores.csv", records.Table(scores.schema, {
        name: [*column, *([whole] * len(column) if name == "budget" else column)]
        for name, column in scores.columns.items()}))
    page = report(checkout, profile=tiny_profile().model_copy(update=dict(budgets={whole: 1.0, BUDGET: 0.1})))
    assert (f"At budget {BUDGET}, of which the verdict speaks, a comparison with unequal training would claim +12.5 "
            "points; at equal updates the difference is +12.5 points.") in page
    assert f"Why a verdict is refused at budget {BUDGET}: of seeds." in page
    assert f"refused at budget {whole}" not in page
    for part in ("## Accuracy", "## The naive", "## The same", "## Plateau", "## For whom", "## Audit", "## Cost"):
        section = page.split(part)[1].split("\n## ")[0]
        section = section[section.index("|"):] if part == "## The naive" else section  # past the sentence about one
        assert section.index(BUDGET) < section.index(whole), part


def test_weights_that_had_learned_before_are_named(checkout):
    assert "All classifiers begin with random weights." in report(checkout)
    path = checkout / "artifacts" / "baseline" / NAME / BUDGET / ARCH / "cell.json"
    records.write_json(path, records.read_json(path) | {"began_from": ["ImageNet", "<b>phantom</b>"]})
    page = report(checkout)
    assert "With weights that had learned before begin, in every arm alike: residual (from ImageNet, &lt;b&gt;phantom" in page


def test_a_cross_validation_says_so(checkout):
    profile = tiny_profile()
    crossed = profile.model_copy(update=dict(prepare=profile.prepare.model_copy(update=dict(cross_validation="scanners"))))
    path = checkout / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    for row in verdict["records"]:
        row["n_generators"] = 2
    records.write_json(path, verdict)
    page = report(checkout, profile=crossed)
    assert "Cross-validation by scanners: every generator has test patients of its own" in page
    assert "a bootstrap of patients and seeds" in page and "unknown where each has patients of its own" in page
    assert "a bootstrap of patients and generators" in report(checkout)
    assert "Cross-validation" not in report(checkout) and "Fold by fold" not in report(checkout)


def test_folds_stand_one_by_one_and_as_observations(checkout):
    path = checkout / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    verdict["folds"] = [dict(budget="scarce", arch="mean", metric="balanced_accuracy", contrast="fair", arm="mixed",
                             reference_arm="real", estimate=-.02, low=-.05, high=.01, p_value=.1, folds=[
                                 dict(fold=0, scanners=["E6", "S|10"], images=70, patients=20, classes=2, estimate=-.01),
                                 dict(fold=1, scanners=[""], images=60, patients=19, classes=1, estimate=-.03)])]
    records.write_json(path, verdict)
    page = report(checkout)
    assert "## Fold by fold" in page and "70 (20) | 2 | -1.0 |" in page and "60 (19) | 1 | -3.0 |" in page
    assert "| 2 | -2.0 | -5.0 to +1.0 | 0.100 |" in page and "E6, S|10" not in page


def test_numbers_that_nobody_knows_are_called_unknown(checkout):
    path = checkout / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    for row in verdict["resampling"]:
        row |= {"bootstrap_low": None, "bootstrap_high": None, "n_bootstrap": 0}
    for row in verdict["variance_components"]:
        seed = row["component"] == "seed"
        row |= {"standard_deviation": 0.0, "clipped": True} if seed else {"standard_deviation": None}
    records.write_json(path, verdict)
    page = report(checkout)
    assert "| unknown | 0 (estimated below 0) | unknown |" in page and " | unknown | 0." in page
    for record in verdict["records"]:
        record["estimate"] = None
    records.write_json(path, verdict | {"variance_components": []})
    page = report(checkout)
    assert "No pair of runs can be formed" in page and "No table of runs and patients can be formed" in page


def test_its_figures_exist_and_are_linked_relatively(checkout):
    page = report(checkout)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) == 7
    for link in links:
        assert link.startswith(f"../../artifacts/report/{NAME}/")
        assert (checkout / "metrics" / NAME / link).is_file()
    assert str(checkout) not in page


def test_foreign_text_stays_text(checkout):
    page = report(checkout)
    assert "<script>" not in page and "<b>" not in page
    assert r"Fetal \| brain" in page
    header, seen = None, 0
    for line in page.splitlines():
        cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("| ") else None
        header = header if header and cells else cells  # of the table that the line belongs to
        if cells and "Fetal" in line:
            assert cells == header, line  # whatever the name holds
            seen += 1
    assert seen == 3  # classes in the slices, in the audit and in the data


def test_slices_are_described_and_not_judged(checkout):
    page = report(checkout)
    part = page.split("## For whom")[1].split("\n## ")[0]
    row, = (row for row in records.read_json(checkout / "metrics" / NAME / "verdict.json")["slices"]
            if (row["slice"], row["arm"], row["reference_arm"]) == ("scanner", "synthetic_then_real", "real"))
    assert row["in_training"] == "seen" and row["low"] is not None
    assert (f"{points(row['estimate'])} ({points(row['low'])} to {points(row['high'])})"
            in next(line for line in part.splitlines() if line.startswith("| scanner | a (seen) | 120 (60) |")))
    held = len(re.findall(r"\d \(-[\d.]+ to \+", part))
    total = int(re.search(r"do not hold 0: \d+ of (\d+); .* about 0\.4", part)[1])
    assert f"do not hold 0: {total - held} of {total};" in part and total == 8
    assert not any(word in part for word in ("helps", "hurts", "inconclusive", "equivalent", "p ="))


@pytest.mark.parametrize("low, high, outside", [(-.05, -.01, 8), (.01, .05, 8), (-.01, .01, 0)])
def test_intervals_on_either_side_of_0_are_counted(checkout, low, high, outside):
    path = checkout / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    for row in verdict["slices"]:
        if row["reference_arm"]:
            row.update(low=low, high=high)
    records.write_json(path, verdict)
    assert f"do not hold 0: {outside} of 8;" in report(checkout)


def test_slices_without_numbers_say_why(checkout):
    path = checkout / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    for row in verdict["slices"]:
        if row["slice"] == "scanner":
            row.update(estimate=None, low=None, high=None, why_no_number="too <few> patients")
        elif row["value"] == CLASSES[0] and row["arm"] == "real":
            row.update(low=None, high=None, why_no_number="nothing varies")
    verdict["plateau"][BUDGET]["met"] = False
    records.write_json(path, verdict)
    page = report(checkout)
    assert "| scanner | a (seen) | 120 (60) | none | none | none | none |" in page
    assert "No number (too &lt;few&gt; patients): scanner a (seen)." in page
    assert r"No interval (nothing varies): class Fetal \| brain." in page
    assert "a difference may be one of training time" in page


def test_the_rules_without_pixels_stand_beside_their_share_of_unseen_images(checkout):
    part = report(checkout).split("## Without looking at a pixel")[1].split("\n## ")[0]
    assert "| scarce | always the most frequent training class | 50.0 | 0.0 |" in part
    assert "operator holds the largest share in training | none | unknown |" in part
    assert "No number: no training image has a known operator." in part


def test_the_same_files_give_the_same_bytes(checkout):
    def made():
        report(checkout)
        return {path.name: path.read_bytes() for folder in (f"metrics/{NAME}", f"artifacts/report/{NAME}")
                for path in (checkout / folder).iterdir()}
    assert made() == made()


def test_the_costs_include_the_making_of_the_images(checkout):
    report(checkout)
    cost = records.read_json(checkout / "metrics" / NAME / "cost.json")
    arm = {arm["arm"]: arm for arm in cost["arms"]}["synthetic_then_real"]
    # own 2 x 100, first stage 2 x 100, generator 512 + 64, guide 40, sampling 30
    assert arm["total"]["forward_equivalents"] == 3 * (200 + 200 + 512 + 40) + 64 + 30


@pytest.mark.parametrize("lost", [f"artifacts/joint/{NAME}/{BUDGET}/{ARCH}/cost.json", f"metrics/{NAME}/verdict.json",
                                  f"artifacts/audit/{NAME}/{BUDGET}/audit.json", f"metrics/{NAME}/scores.csv",
                                  f"artifacts/generator/{NAME}/{BUDGET}/r0/history.csv",
                                  f"artifacts/synthetic/{NAME}/{BUDGET}/r0/images.npy"])
def test_a_missing_file_is_refused_by_name(checkout, lost):
    (checkout / lost).unlink()
    with pytest.raises(UserError, match=f"{re.escape(lost)} does not exist"):
        report(checkout)
    assert not (checkout / "metrics" / NAME / "report.md").exists()


def test_scores_of_other_cells_are_refused(checkout):
    path = checkout / "metrics" / NAME / "scores.csv"
    scores = records.read_table(path, records.SCORES)
    records.write_table(path, scores.with_columns(arch=["transformer"] * len(scores)))
    with pytest.raises(UserError, match="lacks scores of the budget 'scarce' and the architecture 'residual'"):
        report(checkout)


def test_escaping_and_numbers():
    assert escaped("a|b <i>*c*</i>\n_d_ [x](y)") == r"a\|b &lt;i&gt;\*c\*&lt;/i&gt; \_d\_ \[x\]\(y\)"
    assert escaped("Op's \"view\"") == "Op's \"view\""
    assert points(0.0123) == "+1.2" and points(-0.0001) == "0.0" and points(None) == "unknown"
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| ---: | ---: |\n| 1 | 2 |"
