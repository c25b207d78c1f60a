"""Git as people have it: its own reasons are told, and a checkout inside a larger repository is a checkout."""

import os
import shutil

import pytest

from synthplanes.errors import UserError
from synthplanes.reproduction.checkout import commit_tagger, head, last_change, place_in_repository, read_checkout
from synthplanes.reproduction.dvc_settings import check_settings
from synthplanes.reproduction.verification import _copy_revision
from tests.checkout import commit, git

LOCK = "schema: '2.0'\nstages:\n  judge@toy:\n    cmd: x\n    outs:\n    - path: a\n      md5: b\n"


def make(root):
    """A checkout with one recorded stage, in a repository if there is one above."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in {"dvc.lock": LOCK, "dvc.yaml": "stages: {}\n"}.items():
        (root / name).write_text(content)
    return root


@pytest.fixture
def repository(tmp_path):
    root = make(tmp_path / "checkout")
    git(root, "init", "-q")
    commit(root)
    return root


@pytest.mark.parametrize("name", ["", "a b", "a#b", "ä?%20,", "-dash", "a:b", "deep/folder"])
def test_a_checkout_inside_a_larger_repository_has_commits(tmp_path, name):
    top = make(tmp_path / "top")
    root = make(top / name)
    git(top, "init", "-q")
    commit(top)
    first = head(root)
    (top / "other").write_text("x")
    commit(top, "something else")
    assert place_in_repository(root) == (f"{name}/" if name else "") and head(root) != first
    assert last_change(root, "HEAD", ["dvc.lock"]) == first
    tags = commit_tagger(root)(read_checkout(root).stages["judge@toy"])
    assert (tags["git_revision"], tags["tracked_at"], tags["dirty"]) == (first, head(root), "no")
    copied = tmp_path / "copied" / name
    assert _copy_revision(root, None, copied) == head(root)[:12] and (copied / "dvc.lock").read_text() == LOCK
    with pytest.raises(UserError, match="'--all' is no revision"):
        _copy_revision(root, "--all", tmp_path / "none" / name)


def test_files_that_lie_in_a_foreign_repository_are_not_under_its_control(repository):
    inner = make(repository / "unpacked")
    assert place_in_repository(inner) is None and head(inner) is None and commit_tagger(inner)() == {}


def test_a_repository_without_a_commit_has_no_tags(tmp_path):
    git(make(tmp_path), "init", "-q")
    assert place_in_repository(tmp_path) == "" and head(tmp_path) is None and commit_tagger(tmp_path)() == {}


def not_trusted(root, patch):
    if os.getuid():
        pytest.skip("only root can give a folder to somebody else")
    patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for folder in (root, root / ".git"):
        os.chown(folder, 12345, 12345)


@pytest.mark.parametrize("spoil, reason", [
    (not_trusted, "dubious ownership.*safe.directory"),
    (lambda root, _: git(root, "config", "core.bare", "true"), "must be run in a work tree"),
    (lambda root, _: (root / ".git" / "HEAD").write_text("damaged"), "not a git repository"),
    (lambda root, _: (root / ".git" / "config").write_text("[damaged"), "bad config"),
    (lambda root, _: shutil.rmtree(root / ".git" / "objects"), "not a git repository"),
    (lambda root, _: [shutil.rmtree(folder) for folder in (root / ".git" / "objects").iterdir()], "HEAD"),
    (lambda root, patch: patch.setenv("PATH", "/nowhere"), "git is not installed"),
])
def test_gits_own_reason_is_told(repository, monkeypatch, spoil, reason):
    spoil(repository, monkeypatch)
    with pytest.raises(UserError, match=reason) as caught:
        commit_tagger(repository)
    assert "\n" not in str(caught.value)


def test_a_hook_of_another_repository_leads_nowhere(repository, tmp_path, monkeypatch):
    other = make(tmp_path / "other")
    git(other, "init", "-q")
    own = head(repository)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert head(repository) == own


def test_detached_dirty_shallow_and_linked_checkouts_have_their_tags(repository, tmp_path):
    git(repository, "checkout", "-q", "--detach")
    (repository / "dvc.yaml").write_text("stages: {a: 1}\n")
    assert commit_tagger(repository)()["dirty"] == "yes"
    (tmp_path / "link").symlink_to(repository)
    assert head(tmp_path / "link") == head(repository)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(tmp_path / "shallow"))
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    for place in ("shallow", "tree"):
        assert commit_tagger(tmp_path / place)(*read_checkout(tmp_path / place).stages.values())["git_revision"]


@pytest.mark.parametrize("written, words", [
    ("url = /data/a#b", "is read as /data/a, for #b is a comment there: write the whole in quotes"),
    ("url = /data/a #b", "is read as /data/a, for #b is a comment"),
    ("dir = /data/a#b", "the dir under"),
    ("url = /data/a,b", "is read as a list of 2, for it holds a comma: write it in quotes"),
    ("url = $HOME/store", "within .dvc: write an absolute path"), ("url = C:\\\\store", "within .dvc"),
    ("url =", "within .dvc"), ("url = user@host:/store", "within .dvc"),
    ("url = /data/%(x)s", "no configuration of DVC .*interpolation"),
    ("url = file:///data/a%20b", "begins with file:, which DVC takes for the name of a folder"),
    ('url = "file:///data/a#b"', "begins with file:"),
    ("url = 'not closed", "is no configuration of DVC"),
])
def test_a_path_that_dvc_reads_otherwise_is_refused(tmp_path, written, words):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(f"['remote \"store\"']\n    {written}\n")
    with pytest.raises(UserError, match=words):
        check_settings(tmp_path)
    (tmp_path / ".dvc" / "config").rename(tmp_path / ".dvc" / "config.local")
    with pytest.raises(UserError, match=words):
        check_settings(tmp_path)


@pytest.mark.parametrize("written", ['"/data/a#b"', '"/data/a,b"', "/data/a?b%20c d", "s3://bucket/a", "~/ä", "../x",
                                     "https://host/a%20b"])
def test_a_path_that_dvc_reads_as_it_stands_is_not(tmp_path, written):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(f"# why\n['remote \"store\"']\n    # which\n    url = {written}\n")
    check_settings(tmp_path)
