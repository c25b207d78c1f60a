"""Read the git history of a checkout: which commit is checked out, and which one recorded its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Commits:
    """The history of dvc.lock; empty without version control and before the first commit."""

    head: str = ""                                     # the commit that is checked out
    dirty: bool = False                                # whether files under version control have uncommitted changes
    held: tuple[tuple[str, frozenset[str]], ...] = ()  # from the oldest: a commit, and the present entries that it has

    def tags(self, *stages: LockedStage) -> dict[str, str]:
        """Return the tags of a run that depends on the given locked stages.

        `git_revision` is the first commit whose dvc.lock has exactly these entries; it is absent until they are
        committed. `tracked_at` and `dirty` describe the present checkout.
        """
        if not self.head:
            return {}
        names = {stage.name for stage in stages}
        first = next((commit for commit, held in self.held if names <= held), None)
        # The second is the tag that MLflow's own pages show.
        revision = {"git_revision": first, "mlflow.source.git.commit": first} if first else {}
        return {**revision, "tracked_at": self.head, "dirty": "yes" if self.dirty else "no"}


def read_commits(root: Path) -> Commits:
    """Read which commits have the entries of the present dvc.lock.

    Entries are compared as text: parsing every version of dvc.lock takes twenty times as long.
    """
    repository = open_repository(root)
    if repository is None or not repository.head.is_valid():
        return Commits()
    entries = lock_entries((root / "dvc.lock").read_text(encoding="utf-8"))
    held = []
    for commit in repository.iter_commits("HEAD", paths="dvc.lock", topo_order=True, reverse=True):
        text = commit.tree["dvc.lock"].data_stream.read().decode() if "dvc.lock" in commit.tree else ""
        held.append((commit.hexsha, frozenset(name for name, entry in entries.items() if entry in text)))
    return Commits(repository.head.commit.hexsha, repository.is_dirty(), tuple(held))


def lock_entries(lock: str) -> dict[str, str]:
    """Return the text of every entry under `stages` of a dvc.lock, by its name."""
    document = YAML(typ="safe").compose(lock)
    stages = next(value for key, value in document.value if key.value == "stages")
    return {key.value: lock[key.start_mark.index:value.end_mark.index].rstrip() for key, value in stages.value}
