"""Run a revision again in a separate folder, or restore its outputs, and report whether it reproduces."""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from ruamel.yaml import YAML

from synthplanes import instructions, records
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction.checkout import (
    Checkout,
    LockedStage,
    git,
    inside,
    last_change,
    md5,
    place_in_repository,
    read_checkout,
)
from synthplanes.reproduction.comparison import ABSENT, RESTORED, ComparedStage, Verification, compare, protocol_changes
from synthplanes.reproduction.dvc_settings import check_settings

PROTOCOL = "protocol"  # its outputs are the parameters and code of the other stages: inputs here, not results
# What a checkout without version control (a tarball) must hold.
PARTS = (".dvc/config", ".dvc/plots", ".dvcignore", "dvc.yaml", "dvc.lock", "params.yaml", "pyproject.toml",
         "requirements.lock", "src", "stages", "metrics")


def verify(root: Path, profile: str, revision: str | None = None, stages: Sequence[str] = (),
           restore: bool = False) -> Verification:
    """Run a revision of the checkout `root` again, or restore its outputs, and compare.

    `stages`: only these (none: all) are run, on inputs restored from the DVC cache of `root`. `restore`: nothing is
    run; the outputs are taken from the cache (or from the working tree of `root`) and their md5s computed. Raises
    `UserError` where something that is needed is absent.
    """
    with tempfile.TemporaryDirectory(prefix="synthplanes-") as scratch:
        folder, kept = Path(scratch) / "checkout" / (place_in_repository(root) or ""), Path(scratch) / "recorded"
        name = _copy_revision(root, revision, folder)
        copy_files(folder, kept, ("dvc.lock", "metrics"))
        before = read_checkout(kept)
        chosen = _chosen(before, profile, folder, stages)
        activate(folder, profile)
        raw, linked = (Paths(profile, place).artifact("raw") for place in (root, folder))
        if raw.exists() and not linked.exists():  # it is not under version control
            linked.parent.mkdir(parents=True, exist_ok=True)
            linked.symlink_to(raw.resolve(), target_is_directory=True)
        _write_protocol(folder, profile)
        with dvc_repository(root) as repository:
            cache = Path(repository.cache.local_cache_dir)
        changes = _changes(root, folder, cache, chosen)
        if restore:
            verification = _restored(root, folder, cache, before.of_profile(profile))
        else:
            _run(folder, cache, before, chosen, everything=not stages)
            verification = compare(before, read_checkout(folder), chosen, changes)
        recorded_by = last_change(root, revision or "HEAD", [
            (Paths(profile).metrics / table).as_posix() for table in ("scores.csv", "verdict.json")])
        return replace(verification, revision=name, packages=tuple(_package_differences(folder)),
                       recorded_by=recorded_by and recorded_by[:7], out_of_step=next(iter(changes), None))


def _copy_revision(root: Path, revision: str | None, folder: Path) -> str:
    """Copy a revision of the checkout `root`, or without version control its files, to `folder`; return its name."""
    place = place_in_repository(root)
    if place is None:
        if revision is not None:
            raise UserError(f"this checkout has no version control, so revision '{revision}' cannot be had: leave it "
                            "out, or clone the repository.")
        copy_files(root, folder)
        return "files without version control"
    name, top = revision or "HEAD", folder.parents[place.count("/") - 1] if place else folder
    try:
        if name.startswith("-"):
            raise UserError("that is an option")
        commit = git(root, "rev-parse", "--verify", f"{name}^{{commit}}").strip()
    except UserError:
        shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
        lacks = "; this shallow clone lacks old ones: `git fetch --unshallow`" if shallow else ""
        raise UserError(f"'{name}' is no revision of this repository: name a commit, a branch or a tag"
                        f"{lacks}.") from None
    source = git(root, "rev-parse", "--show-toplevel").removesuffix("\n")
    git(root, "clone", "--quiet", "--no-checkout", "--", source, str(top))
    git(top, "checkout", "--quiet", "--detach", commit)
    if not folder.is_dir():
        raise UserError(f"the revision '{name}' has no folder {place}: name one that has.")
    return commit[:12]


def copy_files(root: Path, folder: Path, parts: Sequence[str] = PARTS) -> None:
    """Copy the files that a clone would hold, as they are in the working tree, into `folder`."""
    for part in parts:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.is_file():
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)


def activate(folder: Path, profile: str) -> None:
    """Set `profile` in the params.yaml of `folder`; everything else, comments included, is unchanged."""
    with modify_yaml(folder / "params.yaml") as parameters:
        if profile not in parameters.get("profiles", {}):
            raise UserError(f"params.yaml of that revision has no profile '{profile}': name one of its own.")
        parameters["profile"] = profile


def _write_protocol(folder: Path, profile: str) -> None:
    """Write the protocol files of the revision in `folder` by its own code: parameters, code digests and packages."""
    words = [sys.executable, "stages/protocol.py", "--profile", profile]
    with _revision_environment(folder):
        if subprocess.run(words, stdin=subprocess.DEVNULL).returncode:
            raise UserError("stages/protocol.py of that revision failed, so its parameters and code are not known: "
                            "look at its own lines above.")


def _chosen(before: Checkout, profile: str, folder: Path, names: Sequence[str]) -> list[LockedStage]:
    """Return the recorded stages to compare (`names`, or all), in the order of dvc.yaml."""
    pipeline = YAML(typ="safe").load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    results = [name for name in pipeline if name != PROTOCOL]
    if unknown := sorted(set(names) - set(results)):
        raise UserError(f"the pipeline has no stage '{unknown[0]}': choose among {', '.join(results)}.")
    chosen = [stage for name in results if (not names or name in names) and (stage := before.of(name, profile))]
    if not chosen:
        raise UserError(f"dvc.lock of that revision records no run of profile '{profile}': name another, or run "
                        "`dvc repro` first.")
    return chosen


def _changes(root: Path, folder: Path, cache: Path, stages: Sequence[LockedStage]) -> dict[str, tuple[str, ...]]:
    """Return the differences, for every stage whose protocol file in `folder` is not the recorded one."""
    changes = {}
    for stage in stages:
        path = stage.protocol_file
        recorded = stage.deps.get(path)
        if recorded and md5(folder / path) != recorded:
            places = (root / path, cache / "files" / "md5" / recorded[:2] / recorded[2:])
            contents = (records.read_json(place) for place in places if place.is_file() and md5(place) == recorded)
            changes[stage.name] = protocol_changes(next(contents, None), records.read_json(folder / path))
    return changes


def _run(folder: Path, cache: Path, before: Checkout, chosen: Sequence[LockedStage], everything: bool) -> None:
    """Run the whole pipeline in `folder`, or the chosen stages on inputs restored from the cache."""
    names = [stage.name for stage in chosen]
    makers = {maker.name for stage in chosen for maker in before.makers(stage) if maker.stage != PROTOCOL}
    if not everything and (needed := sorted(makers - set(names))):
        with dvc_repository(folder, cache) as repository:
            repository.checkout(needed, force=True, allow_missing=True)
    made = [out for stage in chosen for out in stage.outs]
    absent = [dep for stage in chosen for dep in stage.deps
              if not (folder / dep).exists() and not any(inside(dep, out) for out in made)]
    if absent:
        raise UserError(f"{absent[0]} is not here: " + (
            "put the images there with `synthplanes fetch`, then verify again."
            if inside(absent[0], "artifacts/raw") else
            "bring it into this checkout's DVC cache with `dvc pull`, or verify all stages."))
    with dvc_repository(folder) as repository:
        repository.reproduce(None if everything else names, force=True, single_item=not everything, no_commit=True)


def _restored(root: Path, folder: Path, cache: Path, stages: Sequence[LockedStage]) -> Verification:
    """Restore all outputs from the cache, or find them in the working tree of `root`, and compute their md5s."""
    with dvc_repository(folder, cache) as repository:
        repository.checkout(force=True, allow_missing=True)
        store, remote = repository.cache.local, repository.config["core"].get("remote")
        compared = []
        for stage in stages:
            faults = {}
            for out, recorded in sorted(stage.outs.items()):
                place = next((place for place in (folder, root) if (place / out).exists()), None)
                if place is None or md5(place / out) != recorded:
                    # The store's own `oids_exist` deletes what is damaged.
                    cached = inside(out, "metrics") or not lacking(
                        store, [recorded], lambda md5s: filter(store.exists, md5s))
                    faults[out] = "different" if place == folder and cached else ABSENT
            compared.append(ComparedStage(stage.name, _worst(faults.values(), "identical"), tuple(faults),
                                          remote=remote))
    return Verification(stages[0].profile, _worst([stage.state for stage in compared], RESTORED), tuple(compared))


def lacking(store: Any, md5s: Collection[str], present: Callable[[list[str]], Iterable[str]]) -> set[str]:
    """Return which of some outputs and of the files in their folders DVC's cache or remote `store` lacks.

    `present` returns those of some md5s that it holds.
    """
    there = set(present(list(md5s)))
    files = {file.value for folder in there if folder.endswith(".dir")
             for _, _, file in Tree.load(store, HashInfo("md5", folder))}
    return set(md5s) - there | files - set(present(list(files)))


def _worst(states: Collection[str], otherwise: str) -> str:
    return next((state for state in ("different", ABSENT) if state in states), otherwise)


def _package_differences(folder: Path) -> list[str]:
    """Return the packages whose installed version is not the one in requirements.lock, as `name 1.0, here 1.1`."""
    differences = []
    lock = (folder / "requirements.lock").read_text(encoding="utf-8")
    for name, locked in re.findall(r"(?m)^([\w.-]+)==([^\s;#]+)", lock):
        with suppress(metadata.PackageNotFoundError):  # of another platform, or of an extra that is not installed
            here = metadata.version(name)
            if here.split("+")[0] != locked.split("+")[0]:
                differences.append(f"{name} {locked}, here {here}")
    return differences


@contextmanager
def dvc_repository(folder: Path, cache: Path | None = None) -> Iterator[Repo]:
    """Open the copied revision in `folder` as a `dvc.repo.Repo`; a fault of DVC's becomes a `UserError`.

    `cache`: the folder of another repository's cache, whose content is linked where an output is restored.
    """
    check_settings(folder)
    settings: dict[str, Any] = {"core": {"no_scm": True}}
    if cache is not None:
        settings["cache"] = {"dir": str(cache), "type": ["hardlink", "symlink", "copy"]}
    log = logging.getLogger("dvc")
    log.handlers = [logging.StreamHandler(sys.stderr)]
    log.setLevel(logging.INFO)
    try:
        with _revision_environment(folder), Repo(str(folder), config=settings) as repository:
            yield repository
    except DvcException as error:
        raise UserError(f"DVC stopped: {error}. Its own lines stand above.") from None


@contextmanager
def _revision_environment(folder: Path) -> Iterator[None]:
    """Start processes in `folder`, with its own sources and this interpreter; all output goes to stderr."""
    before, stdout = dict(os.environ), os.dup(1)
    try:
        for name in ("DVC_ROOT", "OMP_NUM_THREADS", instructions.CHOICE, *instructions.PINS):
            os.environ.pop(name, None)  # each revision sets its own
        os.environ |= {"PYTHONPATH": str(folder / "src"),
                       "PATH": os.pathsep.join((str(Path(sys.executable).parent), before.get("PATH", "")))}
        sys.stdout.flush()
        os.dup2(2, 1)  # the descriptor itself, which processes inherit
        with chdir(folder), redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.environ.clear()
        os.environ.update(before)
