"""A published version: a tag, a remote with the outputs of all its profiles, and a reviewer with the same numbers."""

import http.server
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from dvc.repo import Repo

from synthplanes.cli import main
from synthplanes.errors import UserError
from tests.checkout import commit, copy_checkout, git
from tests.reproduction.toy import OUTPUTS, active, edit, make_toy, put_raw_images, run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Two profiles with committed results, a third whose results are not committed."""
    folder = make_toy(tmp_path_factory.mktemp("original"))
    for profile in ("smoke", "toy", "other"):
        put_raw_images(folder, profile)
        run(folder, profile)
    commit(folder, "runs")
    return folder


@pytest.fixture
def repository(original, tmp_path, monkeypatch):
    """A copy of it with a remote of its own."""
    folder = copy_checkout(original, tmp_path / "repository")
    config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'remote'}\n"
    (folder / ".dvc" / "config").write_text(config)
    commit(folder, "a remote")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


@pytest.fixture
def served(tmp_path):
    """The remote's folder over HTTP, read only, on the loopback interface."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "remote").mkdir(exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "remote")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def in_folder(folder: Path, words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return main(words)


def test_a_reviewer_gets_every_published_profile_by_tag(repository, tmp_path, served, capfd):
    assert main(["publish", "v1"]) == 0
    assert "published profiles other, toy" in capfd.readouterr().out
    # The author goes on; the tag stays what it was.
    verdicts = {profile: (repository / f"metrics/{profile}/verdict.json").read_bytes() for profile in ("toy", "other")}
    edit(repository, "params.yaml", "toy:\n    seed: 7", "toy:\n    seed: 8")
    run(repository, "toy")
    commit(repository, "another run")
    assert (repository / "metrics/toy/verdict.json").read_bytes() != verdicts["toy"]

    for place, url in (("by_folder", None), ("by_http", served)):
        clone = tmp_path / place
        git(tmp_path, "clone", "-q", str(repository), str(clone))
        git(clone, "checkout", "-q", "v1")
        if url:
            (clone / ".dvc" / "config.local").write_text(
                f"[core]\n    remote = web\n['remote \"web\"']\n    url = {url}\n")
        for profile in ("other", "toy"):
            put_raw_images(clone, profile)
            with active(clone, profile), pytest.MonkeyPatch.context() as patch, Repo(str(clone)) as opened:
                patch.chdir(clone)
                opened.pull()
                # Only the protocol reads params.yaml, where a reviewer activates the profile.
                assert set(opened.status()) <= {f"protocol@{profile}"}
            assert (clone / f"metrics/{profile}/verdict.json").read_bytes() == verdicts[profile]
            assert all((clone / path.format(profile)).is_file() for path in OUTPUTS)
        assert in_folder(clone, ["verify", "v1", "--profile", "toy"]) == 0


def test_the_tag_says_what_it_holds(repository, capfd):
    main(["publish", "v1"])
    text = git(repository, "tag", "-l", "-n9", "v1")
    assert "published profiles other, toy" in text and "toy: worthwhile gain" in text
    assert "synthplanes verify v1 --profile toy" in text and "smoke" not in text


def test_two_versions_compare(repository, capfd):
    edit(repository, "params.yaml", "profile: other", "profile: toy")
    main(["publish", "v1"])
    edit(repository, "params.yaml", "toy:\n    seed: 7", "toy:\n    seed: 8")
    run(repository, "toy")
    commit(repository, "another run")
    with Repo(str(repository)) as opened:
        difference = opened.metrics.diff("v1", "HEAD")["diff"]
    assert difference["metrics/toy/verdict.json"]["overall.estimate"]["diff"]


def hand_written(url: str):
    def spoil(root: Path) -> None:
        (root / ".dvc" / "config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n")
        commit(root, "by hand")
    return spoil


@pytest.mark.parametrize("spoil, words, sentence", [
    (hand_written("/none/a#b"), ["v1"], "is read as /none/a, for #b is a comment"),
    (hand_written("/none/a,b"), ["v1"], "is read as a list of 2"),
    (hand_written("file:///none/a%20b"), ["v1"], "begins with file:"),
    (hand_written("ssh://host/store"), ["v1"], "cannot be reached from here .*dvc-ssh.*`pip install` that package"),
    (lambda root: None, ["--", "-v1"], "no valid name"),
    (lambda root: git(root, "config", "core.bare", "true"), ["v1"], "must be run in a work tree"),
    (lambda root: (root / ".git").rename(root / "gone"), ["v1"], "is not under version control"),
    (lambda root: (root / "note").write_text("x"), ["v1"], "not committed"),
    (lambda root: git(root, "tag", "v1"), ["v1"], "exists already"),
    (lambda root: None, ["a..b"], "no valid name"),
    (lambda root: None, ["v1", "--remote", "moon"], "no such DVC remote"),
    (lambda root: [shutil.rmtree(root / part) for part in (".dvc/cache", "artifacts/drawn")], ["v1"],
     "profile 'other': draw@other is absent"),
    (lambda root: shutil.rmtree(root / ".dvc/cache"), ["v1"], "the remote did not take everything"),
    (lambda root: (root.parent / "remote").write_text("a file in its place"), ["v1"], "did not take everything"),
])
def test_what_cannot_be_published_is_said_before_a_tag_is_made(repository, capfd, spoil, words, sentence):
    spoil(repository)
    with pytest.raises(UserError, match=sentence):
        main(["publish", *words])
    if (repository / "gone").exists():
        (repository / "gone").rename(repository / ".git")
    git(repository, "config", "core.bare", "false")
    assert "exists" in sentence or not git(repository, "tag", "-l")


def test_what_one_folder_lacks_is_absent_and_not_different_and_the_remote_is_named(repository, capfd):
    cache = repository / ".dvc" / "cache" / "files" / "md5"
    folder = next(file for file in cache.rglob("*.dir") if "pixels.csv" in file.read_text())
    md5 = json.loads(folder.read_text())[0]["md5"]
    (cache / md5[:2] / md5[2:]).unlink()
    shutil.rmtree(repository / "artifacts" / "drawn")
    assert main(["verify", "--profile", "other", "--restore"]) == 6
    assert "absent: artifacts/drawn/other (`dvc pull` from the remote 'store' or `dvc repro` brings it)" in (
        capfd.readouterr().out)


@pytest.mark.parametrize("name", ["a#b, c", "a?b%20c", "-d'e", 'f"[x]'])
def test_a_remote_under_any_name_gets_all(repository, tmp_path, name, capfd):
    """As `dvc remote add` writes it."""
    with Repo(str(repository)) as opened, opened.config.edit("repo") as config:
        config["remote"]["store"]["url"] = str(tmp_path / name)
    commit(repository, "another remote")
    assert main(["publish", "v1"]) == 0 and f"all outputs are in {tmp_path / name}" in capfd.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["repository", name])
    assert len([path for path in (tmp_path / name).rglob("*") if path.is_file()]) > 6
