"""Read the git history of a checkout: which commit is checked out, and which one recorded its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from synthplanes.errors import UserError
from synthplanes.reproduction.checkout import LockedStage

if TYPE_CHECKING:
    from git import Repo


def open_repository(root: Path) -> Repo | None:
    """Open the git repository whose top folder is `root`; None where the files are not under version control."""
    if not (root / ".git").exists():
        return None
    try:
        import git
    except ImportError:  # what GitPython raises without the program git
        raise UserError("git is not installed: install it, or work from a copy without version control.") from None
    repository = git.Repo(root)
    repository.git.update_environment(GIT_OPTIONAL_LOCKS="0")  # does not lock out git commands of others
    return repository


def last_change(repository: Repo | None, revision: str, paths: Sequence[str]) -> str | None:
    """Return the last commit up to `revision` that changed one of some paths: 40 hexadecimal digits.

    None without version control, before the first commit, and where a shallow clone does not reach so far.
    """
    if repository is None or not repository.head.is_valid():
        return None
    return next((commit.hexsha for commit in repository.iter_commits(revision, paths=list(paths), max_count=1)), None)


def commit_tagger(root: Path) -> Callable[..., dict[str, str]]:
    """Return the function that gives a run's tags about commits, from the locked stages on which the run depends.

    `git_revision` is the first commit whose dvc.lock has exactly these entries; it is absent until they are committed.
    `tracked_at` and `dirty` describe the present checkout. Without version control and before the first commit there
    are no tags.
    """
    repository = open_repository(root)
    if repository is None or not repository.head.is_valid():
        return lambda *stages: {}
    # Entries are compared as text: parsing every version of dvc.lock takes twenty times as long.
    lock = (root / "dvc.lock").read_text(encoding="utf-8")
    listed = next(value for key, value in YAML(typ="safe").compose(lock).value if key.value == "stages")
    entries = {key.value: lock[key.start_mark.index:value.end_mark.index].rstrip() for key, value in listed.value}
    held = {}  # from the oldest commit on: the present entries that it has
    for commit in repository.iter_commits("HEAD", paths="dvc.lock", topo_order=True, reverse=True):
        text = commit.tree["dvc.lock"].data_stream.read().decode() if "dvc.lock" in commit.tree else ""
        held[commit.hexsha] = {name for name, entry in entries.items() if entry in text}
    checkout = {"tracked_at": repository.head.commit.hexsha, "dirty": "yes" if repository.is_dirty() else "no"}

    def tags(*stages: LockedStage) -> dict[str, str]:
        names = {stage.name for stage in stages}
        first = next((commit for commit, there in held.items() if names <= there), None)
        # The second is the tag that MLflow's own pages show.
        return checkout | ({"git_revision": first, "mlflow.source.git.commit": first} if first else {})

    return tags
