"""A reviewer's way, on the real pipeline's `smoke`: tag, push; clone, checkout, pull, track; the same numbers."""

from dvc.repo import Repo

from synthplanes import records
from synthplanes.cli import main
from synthplanes.tracking import projection, store
from tests.checkout import commit, git


def test_a_tag_is_tracked_with_the_numbers_that_it_holds(published, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with (published / ".dvc" / "config").open("a") as file:
        file.write(f"['remote \"store\"']\n    url = {tmp_path / 'remote'}\n")
    commit(published)
    monkeypatch.chdir(published)
    assert main(["publish", "v1", "--remote", "store"]) == 0
    table = published / "metrics" / "smoke" / "scores.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.splitlines()[0] + "\n", encoding="utf-8")  # the author goes on
    commit(published)

    reviewer = tmp_path / "reviewer"
    git(tmp_path, "clone", "-q", str(published), str(reviewer))
    git(reviewer, "checkout", "-q", "v1")
    monkeypatch.chdir(reviewer)
    with Repo(str(reviewer)) as repository:
        repository.pull(remote="store")
    assert (reviewer / "metrics" / "smoke" / "scores.csv").read_text(encoding="utf-8") == text
    assert main(["track"]) == 0
    runs = {run.info.run_name: run for run in store.Store(reviewer).known.values()}
    scores = records.read_table(reviewer / "metrics" / "smoke" / "scores.csv", records.SCORES)
    assert len(scores) > 100
    for row in scores.itertuples():
        run = runs[f"{row.arm} s{row.seed} r{row.replicate} {row.arch} {row.budget} smoke"]
        assert run.data.metrics[projection.metric_name(row.metric)] == row.value
    client = store.Store(reviewer).client
    assert int(client.get_model_version_by_alias("smoke-residual", "best").version) == 1
    assert int(client.get_model_version_by_alias("smoke-scarce-generator", "current").version) == 1
