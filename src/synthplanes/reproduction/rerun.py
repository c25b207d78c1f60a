"""A revision in a place of its own: clone it, give it its raw images, run its pipeline again."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ruamel.yaml import YAML

from synthplanes.reproduction.checkout import read_checkout
from synthplanes.errors import UserError

# What a checkout without version control (a tarball) must hold.
PARTS = (".dvc/config", ".dvcignore", "dvc.yaml", "dvc.lock", "params.yaml", "pyproject.toml", "requirements.lock", "src",
         "stages", "metrics")


def copy_revision(root: Path, revision: str | None, folder: Path) -> str:
    """Put a revision of the checkout `root` into the empty `folder`; returns its name.

    Without version control the files themselves are copied, and no other revision can be asked for.
    """
    if (root / ".git").exists():
        name = revision or "HEAD"
        shallow = _run(["git", "rev-parse", "--is-shallow-repository"], root, "git failed").strip() == "true"
        _run(["git", "clone", "--quiet", "--no-checkout", str(root), str(folder)], root, "the checkout cannot be cloned")
        commit = _run(["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], root,
                      f"'{name}' is no revision of this repository: name a commit, a branch or a tag"
                      + (" (this shallow clone lacks old ones: `git fetch --unshallow`)" if shallow else "")).strip()
        _run(["git", "checkout", "--quiet", "--detach", commit], folder,
             f"'{name}' is not in the clone (a shallow clone lacks old revisions): run `git fetch --unshallow`")
        return commit[:12]
    if revision is not None:
        raise UserError(f"this checkout has no version control, so revision '{revision}' cannot be had: leave it out, or "
                        "clone the repository.")
    copy_files(root, folder)
    return "files without version control"


def copy_files(root: Path, folder: Path, parts: tuple[str, ...] = PARTS) -> None:
    """Copy what a clone would hold, as it stands in the working tree, into `folder`."""
    for part in parts:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.is_file():
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)


def prepare(root: Path, folder: Path, profile: str, shared_cache: bool) -> None:
    """Make `profile` the only active one in `folder`, link its raw images, and give it a DVC cache.

    Budgets and architecture roles are those of its cells in dvc.lock there: the lists that a revision was committed with
    may serve another profile. `shared_cache`: the cache of `root`, to restore outputs from; otherwise a new one, so that
    nothing is reused.
    """
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    if not re.search(rf"(?m)^  {re.escape(profile)}:", params):
        raise UserError(f"params.yaml of that revision has no profile '{profile}': name one of its own.")
    here, there = root / "artifacts" / "raw" / profile, folder / "artifacts" / "raw" / profile
    if here.exists() and not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(here.resolve(), target_is_directory=True)
    cells = [cell for cell in read_checkout(folder).cells.values() if cell.profile == profile]
    run = {"profile": {profile}, "budgets": {cell.budget for cell in cells}, "archs": {cell.arch for cell in cells}}
    for key, names in run.items():
        if names := sorted(names - {""}):
            params = re.sub(rf"(?m)^{key}:.*$", f"{key}: [{', '.join(names)}]", params, count=1)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    settings = [] if (folder / ".git").exists() else ["[core]", "    no_scm = true"]
    if shared_cache:
        place = run_dvc(root, "cache", "dir").strip()
        settings += ["[cache]", f"    dir = {(root / place).resolve()}"]
    (folder / ".dvc" / "config.local").write_text("\n".join(settings) + "\n", encoding="utf-8")


def order(folder: Path) -> list[str]:
    """The stages in the order of dvc.yaml."""
    return list(YAML(typ="safe", pure=True).load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def dvc(folder: Path, *arguments: str) -> int:
    """Run dvc there, with that revision's own sources; what it prints goes to stderr as it comes."""
    environment = dict(os.environ, PYTHONPATH=str(folder / "src"), DVC_NO_ANALYTICS="1",
                       PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    for name in ("DVC_ROOT", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=sys.stderr.fileno(), stderr=sys.stderr.fileno()).returncode


def out_of_step(folder: Path) -> str | None:
    """The first stage there that dvc.lock does not record as run with that revision's code, parameters and packages;
    None where all of them are in step. Runs nothing and needs no data."""
    dry = subprocess.run([sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"], cwd=folder, capture_output=True,
                         text=True, stdin=subprocess.DEVNULL)
    # A stage that would run fails even dry where its inputs are not there yet.
    found = re.search(r"Running stage '([^']+)'", dry.stdout) or re.search(r"failed to reproduce '([^']+)'", dry.stderr)
    if dry.returncode and not found:  # silence would say that all is in step
        raise UserError(f"`dvc repro --dry` failed in the clone ({' '.join(dry.stderr.split())[-200:]}).")
    return found[1] if found else None


def recorded_by(root: Path, revision: str | None, profile: str) -> str | None:
    """The last commit, up to a revision, that changed a profile's metrics; None without version control or where a
    shallow clone does not reach so far."""
    if not (root / ".git").exists():
        return None
    return git(root, "log", "-1", "--format=%h", revision or "HEAD", "--", f"metrics/{profile}/scores.csv",
               f"metrics/{profile}/verdict.json").strip() or None


def environment_differences(folder: Path) -> list[str]:
    """Packages whose installed version is not that of requirements.lock, as `name locked, here installed`."""
    found = []
    text = (folder / "requirements.lock").read_text(encoding="utf-8")
    for name, locked in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a dependency of another platform or of an extra that is not installed
        if here.split("+")[0] != locked.split("+")[0]:
            found.append(f"{name} {locked}, here {here}")
    return found


def run_dvc(root: Path, *arguments: str) -> str:
    """What a command of dvc prints in the checkout `root`."""
    return _run([sys.executable, "-m", "dvc", *arguments], root, f"`dvc {' '.join(arguments)}` failed")


def git(root: Path, *arguments: str, trouble: str = "git failed") -> str:
    """What a command of git prints in the checkout `root`."""
    return _run(["git", *arguments], root, trouble)


def _run(command: list[str], folder: Path, trouble: str) -> str:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed: install it, or work from a copy without version control.") from None
    if result.returncode:
        last = " ".join(result.stderr.split())[-200:]
        raise UserError(f"{trouble}{f' ({last})' if last else ''}.")
    return result.stdout
