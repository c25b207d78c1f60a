"""The pages of all profiles: generated from committed files, and known to be stale when those change."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.report import tables
from synthplanes.report.markdown import between, points
from synthplanes.report.results_page import (
    CLAIMS,
    PAGE,
    answer,
    check_pages,
    generated,
    read_profiles,
    write_pages,
)
from tests.checkout import git
from tests.fake_checkout import NAME

REFUSED = ("So far every verdict on pretraining on synthetic images is refused. "
           "So far every verdict on joint training is refused.")
README = "# Title\n\n<!-- results -->\nold\n<!-- /results -->\n\nThe rest.\n"


@pytest.fixture
def root(finished, tmp_path):
    """Return a checkout of committed files with one profile, a README and pages that are up to date."""
    root = tmp_path / "checkout"
    shutil.copytree(finished / "metrics", root / "metrics")
    shutil.copy(finished / "params.yaml", root)
    (root / "README.md").write_text(README)
    write_pages(root)
    return root


def commit(root) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "results")


def test_the_stage_writes_the_page(finished):
    assert (finished / "metrics" / "README.md").read_text() == generated(finished)[PAGE]


def test_it_tells_what_stands_behind_each_profile(root):
    page = (root / "metrics" / "README.md").read_text()
    sentence = records.read_json(root / "metrics" / NAME / "verdict.json")["overall"]["sentence"]
    assert f"**{REFUSED}**" in page and "with 95 % intervals" in page
    assert f"- `{NAME}`: {sentence} To get a verdict in place of *too few repetitions*, raise `replication" in page
    assert f"| `{NAME}` | 1 | yes | 2 | no | 50.0 | 16.7 | 1 |" in page
    assert (f"| `{NAME}` | `phantom`, 16 px | no version control | avx2 instructions, 2 threads, torch 2.0.0 | "
            f"[report.md]({NAME}/report.md) |") in page
    levels = records.read_table(root / "metrics" / NAME / "levels.csv", records.LEVELS)
    level, = levels.query("arm == 'real_long' and metric == 'balanced_accuracy' and arch == 'mean'")["estimate"]
    assert f"| `real_long` | {100 * level:.1f} (" in page


def change_verdict(root, change) -> None:
    path = root / "metrics" / NAME / "verdict.json"
    verdict = records.read_json(path)
    change(verdict)
    records.write_json(path, verdict)


def row_of_the_profile(root) -> dict[str, str]:
    """Return the cells of the profile's row in the table of README.md, by its header."""
    lines = generated(root)[Path("README.md")].splitlines()
    header, = (line for line in lines if line.startswith("| profile |"))
    row, = (line for line in lines if line.startswith(f"| `{NAME}` |"))
    return dict(zip(header.split(" | "), row.split(" | "), strict=True))


def test_each_hypothesis_has_its_word_and_its_own_numbers(root):
    contrasts = records.read_table(root / "metrics" / NAME / "contrasts.csv", records.CONTRASTS).query(
        "metric == 'balanced_accuracy'").set_index("contrast")
    shown = {name: f"{points(row.estimate)} ({between(row.low, row.high)})" for name, row in contrasts.iterrows()}
    cells = row_of_the_profile(root)
    assert cells["images"] == "simulated" and cells["training images (patients)"] == "36 (18)"
    assert cells["the paper's order"] == cells["joint training"] == "refused: too few repetitions"
    for reference, name in (("real", "fair"), ("real_two_stage", "fair_two_stage"),
                            ("duplicate_joint", "joint_duplicate")):
        assert cells[f"against `{reference}`"] == shown[name]
    assert cells["naive"] == shown["naive"] and cells["test patients |"] == "60 |"

    def judge(verdict):
        verdict["hypotheses"]["joint"]["word"] = "gain, size open"
        verdict["hypotheses"]["paper_order"]["against"]["real"] = None

    change_verdict(root, judge)
    cells = row_of_the_profile(root)
    assert cells["joint training"] == "gain, size open" and cells["the paper's order"].startswith("refused: ")
    assert cells["against `real`"] == "unknown"
    page = generated(root)[PAGE]
    assert page.count("To get a verdict in place of") == 1
    assert "So far there is one verdict on joint training at equal updates, which says that it brings a " in page


def test_joint_training_that_was_not_judged_is_called_not_run(root):
    change_verdict(root, lambda verdict: verdict["hypotheses"].pop("joint"))
    cells = row_of_the_profile(root)
    assert cells["joint training"] == "not run" and cells["against `duplicate_joint`"] == ""
    page = generated(root)[PAGE]
    assert "**So far every verdict on pretraining on synthetic images is refused.**" in page
    assert f"| `{NAME}` | 1 | yes | 2 | yes | 50.0 | 16.7 | 1 |" in page  # `duplicate_joint` alone has not converged


def test_results_whose_test_images_were_scored_before_are_called_exploratory(root):
    assert "exploratory" not in "".join(generated(root).values())
    path = root / "metrics" / NAME / "test_access_log.csv"
    log = records.read_table(path, records.TEST_ACCESS)
    records.write_table(path, pd.concat([log, log.assign(access=2, predictions="cc")]), records.TEST_ACCESS)
    page = generated(root)[PAGE]
    assert f"- `{NAME}`: This result is exploratory: these test images have been scored 2 times, and" in page
    assert f"so the result is exploratory, in `{NAME}`." in page
    shutil.copytree(root / "metrics" / NAME, root / "metrics" / "other")
    assert f"so the result is exploratory, in `{NAME}` and `other`." in generated(root)[PAGE]


@pytest.mark.parametrize("verdicts, sentence", [
    (["undertrained", "unpaired"], "So far every verdict on joint training is refused."),
    (["harm", "undertrained", "too few patients", "harm", "no worthwhile gain"],
     "So far no profile shows a gain from joint training at equal updates: of 5 verdicts 2 say that it does harm, "
     "1 says that it brings no worthwhile gain and 2 are refused."),
    (["worthwhile gain"],
     "So far there is one verdict on joint training at equal updates, which says that it brings a worthwhile gain."),
    (["gain, below the margin", "gain, size open", "equivalent", "inconclusive", "unpaired"],
     "So far 2 of 5 profiles show a gain from joint training at equal updates: of 5 verdicts 1 says that it brings a "
     "gain of unknown size, 1 says that it brings a gain below the margin, 1 says that it makes next to no difference, "
     "1 says that the data cannot tell and 1 is refused.")])
def test_the_answer_counts_verdicts(verdicts, sentence):
    assert answer("joint training", verdicts) == sentence


def test_every_word_has_a_claim_or_a_remedy():
    assert set(CLAIMS) == {*words.FINDINGS, words.OTHERWISE[0], "refused"}
    assert set(tables.REMEDIES) == set(words.REFUSALS)


def test_the_readme_gets_its_table_and_keeps_the_rest(root):
    before, table, after = (root / "README.md").read_text().replace("<!-- /results -->", "<!-- results -->").split(
        "<!-- results -->")
    assert before == "# Title\n\n" and after == "\n\nThe rest.\n"
    assert table.strip().startswith(f"**{REFUSED}**\n\n| profile | images |")
    assert table.strip() in (root / PAGE).read_text()
    (root / "README.md").write_text("No markers.\n")
    write_pages(root)
    assert (root / "README.md").read_text() == "No markers.\n" and check_pages(root) == []
    (root / "README.md").unlink()
    write_pages(root)
    assert not (root / "README.md").exists() and check_pages(root) == []


def test_stale_parts_are_named(root):
    assert check_pages(root) == []
    (root / "README.md").write_text(README)
    assert check_pages(root) == ["README.md"]
    write_pages(root)
    path = root / "metrics" / NAME / "contrasts.csv"
    contrasts = records.read_table(path, records.CONTRASTS)
    records.write_table(path, contrasts.assign(estimate=0.01), records.CONTRASTS)
    assert check_pages(root) == ["metrics/README.md", "README.md", f"metrics/{NAME}/report.md"]
    write_pages(root)
    assert check_pages(root) == [f"metrics/{NAME}/report.md"]  # until it is rendered again


def test_the_commit_is_the_one_that_last_changed_the_scores(root):
    git(root, "init", "-q")
    write_pages(root)
    assert "| not committed yet |" in (root / "metrics" / "README.md").read_text()
    commit(root)
    assert check_pages(root) == ["metrics/README.md"]
    write_pages(root)
    first = (root / "metrics" / "README.md").read_text()
    commit(root)
    assert check_pages(root) == [] and "| not committed yet |" not in first  # a commit of pages changes no scores
    path = root / "metrics" / NAME / "scores.csv"
    path.write_text(path.read_text() + "\n")
    assert check_pages(root)[0] == "metrics/README.md"


def test_without_the_whole_history_commits_are_not_compared(root):
    git(root, "init", "-q")
    write_pages(root)
    commit(root)
    write_pages(root)
    shutil.rmtree(root / ".git")
    assert check_pages(root) == []


def test_profiles_stand_in_the_order_of_the_parameters_and_old_files_are_left_out(root):
    for name in ("another", "zero"):
        shutil.copytree(root / "metrics" / NAME, root / "metrics" / name)
    (root / "metrics" / "unfinished").mkdir()
    (root / "metrics" / "unfinished" / "data.json").write_text("{}")
    assert [results.profile for results in read_profiles(root)] == [NAME, "another", "zero"]


def test_evidence_is_summed_up_and_an_unknown_file_listed(root):
    records.write_json(root / "metrics" / "controls.json", {"gain": {"oracle": dict(
        mean=0.036, low=0.029, high=0.044, populations=15)}})
    worlds = dict(effect=0.0, judged="contrast", coverage=0.95, gain=0.02)
    pd.DataFrame([worlds, worlds | dict(effect=0.02, coverage=0.94, gain=0.7),
                  worlds | dict(effect=0.02, judged="joint_alone", gain=0.027)]).to_csv(
        root / "metrics" / "calibration.csv", index=False)
    records.write_json(root / "metrics" / "variants.json", {"odd": []})
    records.write_json(root / "metrics" / "another_kind.json", [])
    page = generated(root)[PAGE]
    assert ("- [`controls.json`](controls.json): Gains of controls over the better of `real` and `real_two_stage`, in "
            "points: oracle +3.6 (+2.9 to +4.4) over 15 populations.") in page
    assert ("- [`calibration.csv`](calibration.csv): 3 kinds of simulated worlds: the 95 % intervals cover the truth "
            "in 94.0 % of the worlds at least; without an effect a gain is said in 2.7 % at most.") in page
    for name in ("another_kind", "variants"):
        assert f"- [`{name}.json`]({name}.json): No summary." in page
