"""Copy a revision into a separate folder and run its pipeline there."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

from synthplanes import instructions
from synthplanes.errors import UserError
from synthplanes.protocol.cells import Paths
from synthplanes.reproduction.provenance import open_repository

# What a checkout without version control (a tarball) must hold.
PARTS = (".dvc/config", ".dvc/plots", ".dvcignore", "dvc.yaml", "dvc.lock", "params.yaml", "pyproject.toml",
         "requirements.lock", "src", "stages", "metrics")


def copy_revision(root: Path, revision: str | None, folder: Path) -> str:
    """Copy a revision of the checkout `root` into the empty `folder`, and return its name.

    Without version control the files themselves are copied, and no other revision can be asked for.
    """
    repository = open_repository(root)
    if repository is None:
        if revision is not None:
            raise UserError(f"this checkout has no version control, so revision '{revision}' cannot be had: leave it "
                            "out, or clone the repository.")
        copy_files(root, folder)
        return "files without version control"
    from git import BadName, GitCommandError
    name = revision or "HEAD"
    unshallow = ("; this shallow clone lacks old ones: `git fetch --unshallow`"
                 if repository.git.rev_parse("--is-shallow-repository") == "true" else "")
    try:
        commit = repository.commit(name).hexsha
        repository.clone(str(folder), no_checkout=True).git.checkout(commit, detach=True)
    except (BadName, ValueError, GitCommandError):
        raise UserError(f"'{name}' is no revision of this repository: name a commit, a branch or a tag"
                        f"{unshallow}.") from None
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
    from dvc.utils.serialize import modify_yaml
    with modify_yaml(folder / "params.yaml") as parameters:
        if profile not in parameters.get("profiles", {}):
            raise UserError(f"params.yaml of that revision has no profile '{profile}': name one of its own.")
        parameters["profile"] = profile


def link_raw_images(root: Path, folder: Path, profile: str) -> None:
    """Link the raw images of `root`, which are not under version control, into `folder`."""
    here, there = (Paths(profile, place).artifact("raw") for place in (root, folder))
    if here.exists() and not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(here.resolve(), target_is_directory=True)


def package_differences(folder: Path) -> list[str]:
    """Return the packages whose installed version is not the one in requirements.lock, as `name 1.0, here 1.1`."""
    differences = []
    for line in (folder / "requirements.lock").read_text(encoding="utf-8").splitlines():
        name, _, locked = line.split("#")[0].split(";")[0].strip().partition("==")
        try:
            here = metadata.version(name) if locked else ""
        except metadata.PackageNotFoundError:
            continue  # a dependency of another platform, or of an extra that is not installed
        if here.split("+")[0] != locked.split("+")[0]:
            differences.append(f"{name} {locked}, here {here}")
    return differences


def write_protocol(folder: Path, profile: str) -> None:
    """Write the protocol files of the revision in `folder` by its own code: parameters, code digests and packages."""
    script = Path("stages") / "protocol.py"
    with _revision_environment(folder):
        if subprocess.run([sys.executable, str(script), "--profile", profile], stdin=subprocess.DEVNULL).returncode:
            raise UserError(f"{script} of that revision failed, so its parameters and code are not known: look at its "
                            "own lines above.")


@contextmanager
def dvc_repository(folder: Path, cache: Path | None = None) -> Iterator[Any]:
    """Open the copied revision in `folder` as a `dvc.repo.Repo`; a fault of DVC's becomes a `UserError`.

    `cache`: the folder of another repository's cache, whose content is linked where an output is restored.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
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
