"""Read a checkout as DVC and git record it: the stages in dvc.lock, the files that agree with it, and its commits."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths


@dataclass(frozen=True)
class LockedStage:
    """One entry of dvc.lock, such as `baseline@phantom`: a stage of a profile as it last ran."""

    name: str
    stage: str
    profile: str
    cmd: str
    deps: dict[str, str]      # path -> md5 (a folder's ends in .dir)
    outs: dict[str, str]      # path -> md5

    @property
    def key(self) -> str:
        """Return a hash of all fields, equal in every checkout where the stage ran alike and with the same result."""
        return records.sha256(astuple(self))[:32]

    @property
    def protocol_file(self) -> str:
        """Return the path of the stage's parameters and code digests, relative to the root."""
        return Paths(self.profile).protocol_file(self.stage).as_posix()


@dataclass
class Checkout:
    """The repository's root and the entries of its dvc.lock, by name."""

    root: Path
    stages: dict[str, LockedStage]
    _md5s: dict[str, str] = field(default_factory=dict, repr=False)

    def of(self, stage: str, profile: str) -> LockedStage | None:
        """Return a stage of a profile; None where dvc.lock has no such entry."""
        return self.stages.get(f"{stage}@{profile}")

    def of_profile(self, profile: str) -> list[LockedStage]:
        """Return the stages of a profile, in the order of dvc.lock."""
        return [stage for stage in self.stages.values() if stage.profile == profile]

    def out(self, stage: LockedStage, path: str | Path) -> Path | None:
        """Return the path of an output (or of a file inside one) if the whole output is as dvc.lock records it."""
        out = next((out for out in stage.outs if inside(Path(path).as_posix(), out)), None)
        whole = out is not None and self.state(stage, out) == "present"
        return self.root / path if whole and (self.root / path).exists() else None

    def state(self, stage: LockedStage, out: str) -> str:
        """Return `present`, `absent` (not pulled) or `changed` (another content than dvc.lock records)."""
        if not (self.root / out).exists():
            return "absent"
        return "present" if self.md5(out) == stage.outs[out] else "changed"

    def md5(self, path: str) -> str:
        """Return the md5 of a file or folder of the working tree; computed once."""
        if path not in self._md5s:
            self._md5s[path] = md5(self.root / path)
        return self._md5s[path]

    def protocol(self, stage: LockedStage) -> dict[str, Any]:
        """Return the content of the stage's protocol file; empty where it is absent or not what dvc.lock records."""
        path = stage.protocol_file
        known = (self.root / path).is_file() and stage.deps.get(path) == self.md5(path)
        return records.read_json(self.root / path) if known else {}

    def makers(self, stage: LockedStage) -> list[LockedStage]:
        """Return the stages whose outputs a stage reads, in the order of dvc.lock."""
        return [maker for maker in self.stages.values() if maker is not stage and any(
            inside(dep, out) or inside(out, dep) for dep in stage.deps for out in maker.outs)]

    def ancestors(self, stage: LockedStage) -> list[LockedStage]:
        """Return all stages on which a stage rests, each after those whose outputs it reads, `stage` itself last."""
        ordered: dict[str, LockedStage] = {}

        def visit(current: LockedStage) -> None:
            for maker in self.makers(current):
                if maker.name not in ordered:
                    visit(maker)
            ordered[current.name] = current

        visit(stage)
        return list(ordered.values())


def find_root() -> Path:
    """Return the repository's top folder: DVC_ROOT where DVC sets it, else the nearest folder with a dvc.yaml."""
    start = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"No dvc.yaml in {start} or above it: run this inside the project's checkout.")


def read_checkout(root: Path) -> Checkout:
    """Read dvc.lock; a missing or damaged one raises `UserError`."""
    path, stages = root / "dvc.lock", {}
    try:
        for name, entry in YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"].items():
            if "@" in name:
                stage, profile = name.split("@", 1)
                deps, outs = ({item["path"]: item.get("md5", "") for item in entry.get(key) or []}
                              for key in ("deps", "outs"))
                stages[name] = LockedStage(name, stage, profile, entry["cmd"], deps, outs)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run `dvc repro` first, or check out a commit with results.") from None
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a readable lock file of DVC ({' '.join(str(error).split()):.120}): "
                        "restore it from version control.") from None
    return Checkout(root, stages)


def inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies inside it; both are relative to the root."""
    return path == folder or path.startswith(f"{folder}/")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def md5(path: Path) -> str:
    """Return the md5 that DVC gives a file or a folder, computed by DVC's own code."""
    from dvc_data.hashfile.build import build  # takes a quarter of a second, and most commands do not need it
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem
    files = LocalFileSystem()
    return str(build(HashFileDB(files, ""), str(path), files, "md5", dry_run=True)[2].hash_info.value)


def git(root: Path, *words: str, given: str = "") -> str:
    """Run git in the folder `root` and return what it prints; a failure raises `UserError` with git's own reason."""
    # Inside a hook of git these lead to the hook's repository.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere} | {
        "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}  # does not lock out git commands of others, and speaks English
    try:
        done = subprocess.run(["git", *words], cwd=root, env=environment, input=given, capture_output=True,
                              encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or work from a copy without version control.") from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"git refuses `git {words[0]}` in {root} ({reason}): follow its advice, then run this again.")
    return done.stdout


def place_in_repository(root: Path) -> str | None:
    """Return where `root` lies below the top folder of its git repository: '' or 'folder/'.

    None where its files are not under version control, even if a folder above it is. A repository that git cannot
    read or does not trust raises `UserError`.
    """
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return None
    try:
        # A bare repository has no top folder.
        _, place = git(root, "rev-parse", "--show-toplevel", "--show-prefix").removesuffix("\n").rsplit("\n", 1)
    except UserError as error:
        if "not a git repository" in str(error) and not (root / ".git").exists():
            return None
        raise
    return place if not place or git(root, "ls-files", "--", "dvc.yaml", "dvc.lock") else None


def head(root: Path) -> str | None:
    """Return the commit that is checked out: 40 hexadecimal digits; None without version control or any commit."""
    if place_in_repository(root) is None:
        return None
    try:
        return git(root, "log", "--max-count=1", "--format=%H").strip()
    except UserError as error:
        if "does not have any commits yet" in str(error):
            return None
        raise


def last_change(root: Path, revision: str, paths: Sequence[str]) -> str | None:
    """Return the last commit up to `revision` that changed one of some paths: 40 hexadecimal digits.

    None without version control, before the first commit, and where a shallow clone does not reach so far.
    """
    return head(root) and (git(root, "log", "--max-count=1", "--format=%H", revision, "--", *paths).strip() or None)


def commit_tagger(root: Path) -> Callable[..., dict[str, str]]:
    """Return the function that gives a run's tags about commits, from the locked stages on which the run depends.

    `git_revision` is the first commit whose dvc.lock has exactly these entries; it is absent until they are committed.
    `tracked_at` and `dirty` describe the present checkout. Without version control and before the first commit there
    are no tags.
    """
    if (now := head(root)) is None:
        return lambda *stages: {}
    # Entries are compared as text: parsing every version of dvc.lock takes twenty times as long.
    lock = (root / "dvc.lock").read_text(encoding="utf-8")
    listed = next(value for key, value in YAML(typ="safe").compose(lock).value if key.value == "stages")
    entries = {key.value: lock[key.start_mark.index:value.end_mark.index].rstrip() for key, value in listed.value}
    # From the oldest commit on: the present entries that it has.
    commits = git(root, "log", "--topo-order", "--reverse", "--format=%H", "HEAD", "--", "dvc.lock").split()
    contents = git(root, "cat-file", "--batch", given="".join(
        f"{commit}:{place_in_repository(root)}dvc.lock\n" for commit in commits))
    texts = re.split(r"(?m)^(?:[0-9a-f]+ blob \d+|[0-9a-f]+:.* missing)\n", contents)[1:]
    held = {commit: {name for name, entry in entries.items() if entry in text}
            for commit, text in zip(commits, texts, strict=True)}
    checkout = {"tracked_at": now, "dirty": "yes" if git(root, "status", "--porcelain", "-uno") else "no"}

    def tags(*stages: LockedStage) -> dict[str, str]:
        names = {stage.name for stage in stages}
        first = next((commit for commit, there in held.items() if names <= there), None)
        # The second is the tag that MLflow's own pages show.
        return checkout | ({"git_revision": first, "mlflow.source.git.commit": first} if first else {})

    return tags
