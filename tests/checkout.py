"""A temporary copy of the project with its own DVC cache, for tests that run the pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from synthplanes.protocol.profiles import active_profile
from synthplanes.reproduction.verification import PARTS, activate, copy_files, dvc_repository

ROOT = Path(__file__).resolve().parents[1]
# What a simulated profile has in place of raw images.
NOTES = ("artifacts/raw/phantom", "artifacts/raw/smoke")


def copy_project(target: Path, profile: str) -> Path:
    """Copy what a clone would hold (no artifacts) and make `profile` the active one."""
    copy_files(ROOT, target, (*PARTS, ".gitignore", ".dvc/.gitignore", *NOTES))
    (target / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    if active_profile(target / "params.yaml") != profile:  # else the file keeps its bytes
        activate(target, profile)
    return target


def run_smoke(target: Path) -> Path:
    """Return a copy of the project in which `smoke` was run from nothing."""
    folder = copy_project(target, "smoke")
    shutil.rmtree(folder / "metrics")
    (folder / "dvc.lock").unlink(missing_ok=True)
    with dvc_repository(folder) as repository:
        repository.reproduce()
    return folder


def copy_checkout(source: Path, target: Path) -> Path:
    """Copy a checkout with its artifacts and DVC cache, which are linked: replace such a file, never write into it."""
    def copy(one: str, other: str) -> None:
        linked = {"artifacts", "cache"} & set(Path(one).relative_to(source).parts)
        (os.link if linked else shutil.copy2)(one, other)

    return Path(shutil.copytree(source, target, symlinks=True, copy_function=copy,
                                ignore=shutil.ignore_patterns("tmp", "__pycache__")))


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run dvc in `folder` with the copy's own sources and this interpreter first on the path."""
    environment = dict(os.environ, PYTHONPATH=str(folder / "src"),
                       PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


def git(folder: Path, *words: str) -> str:
    """Run git in `folder`, as an author of its own; return what it prints."""
    return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True,
                          capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "results") -> None:
    """Commit everything."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
