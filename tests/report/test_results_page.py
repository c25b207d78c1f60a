"""The pages of all profiles: generated from committed files, and known to be stale when those change."""

import shutil

import pytest

from synthplanes import records
from synthplanes.protocol import words
from synthplanes.report import tables
from synthplanes.report.markdown import points
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
    verdict = records.read_json(root / "metrics" / NAME / "verdict.json")["overall"]
    assert "**So far every verdict is refused.**" in page and "with 95 % intervals" in page
    assert f"- `{NAME}`: {verdict['sentence']} To get a verdict, raise `replication.seeds`" in page
    assert f"| `{NAME}` | simulated | 36 (18) | refused: too few repetitions | {points(verdict['estimate'])} (" in page
    assert f"| `{NAME}` | 1 | 2 | yes | 50.0 | 16.7 | 1 |" in page
    assert (f"| `{NAME}` | `phantom`, 16 px | no version control | avx2 instructions, 2 threads, torch 2.0.0 | "
            f"[report.md]({NAME}/report.md) |") in page
    levels = records.read_table(root / "metrics" / NAME / "levels.csv", records.LEVELS)
    level, = levels.query("arm == 'real_long' and metric == 'balanced_accuracy' and arch == 'mean'")["estimate"]
    assert f"| `real_long` | {100 * level:.1f} (" in page


@pytest.mark.parametrize("verdicts, sentence", [
    ([], ""),
    (["undertrained", "unpaired"], "So far every verdict is refused."),
    (["hurts", "undertrained", "too few patients", "hurts", "no worthwhile gain"],
     "So far no profile shows a worthwhile gain from synthetic images at equal updates: of 5 verdicts 2 say that the "
     "images hurt, 1 says that the images bring no worthwhile gain and 2 are refused."),
    (["helps"],
     "So far 1 of 1 profile shows a gain from synthetic images at equal updates: of 1 verdict 1 says that the images "
     "help."),
    (["helps", "helps", "unpaired"],
     "So far 2 of 3 profiles show a gain from synthetic images at equal updates: of 3 verdicts 2 say that the images "
     "help and 1 is refused.")])
def test_the_answer_counts_verdicts(verdicts, sentence):
    assert answer(verdicts) == sentence


def test_every_word_has_a_claim_or_a_remedy():
    assert set(CLAIMS) == {*words.FINDINGS, words.OTHERWISE[0], "refused"}
    assert set(tables.REMEDIES) == set(words.REFUSALS)


def test_the_readme_gets_its_table_and_keeps_the_rest(root):
    before, table, after = (root / "README.md").read_text().replace("<!-- /results -->", "<!-- results -->").split(
        "<!-- results -->")
    assert before == "# Title\n\n" and after == "\n\nThe rest.\n"
    assert table.strip().startswith("**So far every verdict is refused.**\n\n| profile | images |")
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
    records.write_json(root / "metrics" / "variants.json", {"odd": []})
    records.write_json(root / "metrics" / "another_kind.json", [])
    page = generated(root)[PAGE]
    assert ("- [`controls.json`](controls.json): Gains of controls over the better of `real` and `real_two_stage`, in "
            "points: oracle +3.6 (+2.9 to +4.4) over 15 populations.") in page
    for name in ("another_kind", "variants"):
        assert f"- [`{name}.json`]({name}.json): No summary." in page
