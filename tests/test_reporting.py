"""The report: complete, the same every time, deaf to names that look like markup, and strict about its cells."""

import re

import pytest
from tests.fake_checkout import ARCH, BUDGET, NAME, folders, make_checkout, tiny_profile

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.markdown import escaped, p_value, points, table
from synthplanes.reporting import write_report


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
                 "Controls", "Audit", "Cost", "Data", "words mean"):
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
    assert len(links) == 4
    for link in links:
        assert link.startswith(f"../../artifacts/report/{NAME}/")
        assert (checkout / "metrics" / NAME / link).is_file()
    assert str(checkout) not in page


def test_foreign_text_stays_text(checkout):
    page = report(checkout)
    assert "<script>" not in page and "<b>" not in page
    assert r"Fetal \| brain" in page
    for line in page.splitlines():
        if line.startswith("| ") and "Fetal" in line:
            # As many cells as its table's header, whatever the name holds.
            assert len(re.split(r"(?<!\\)\|", line)) in (5, 6)


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
