"""A temporary copy of the project with its own DVC cache, for tests that run the pipeline."""

import os
import subprocess
import sys
from pathlib import Path

from synthplanes.reproduction.rerun import PARTS, copy_files

ROOT = Path(__file__).resolve().parents[1]
NOTES = ("artifacts/raw/phantom", "artifacts/raw/smoke")  # what a simulated profile has in place of raw images


def copy_project(target: Path, profile: str) -> Path:
    """Copy what a clone would hold (no artifacts) and make `profile` the only active one."""
    copy_files(ROOT, target, (*PARTS, *NOTES))
    (target / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    params = (target / "params.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    params = [f"profile: [{profile}]\n" if line.startswith("profile:") else line for line in params]
    (target / "params.yaml").write_text("".join(params), encoding="utf-8")
    return target


def run_smoke(target: Path) -> Path:
    """A copy of the project in which `smoke` was run from nothing."""
    target.mkdir(parents=True, exist_ok=True)
    folder = copy_project(target, "smoke")
    (folder / "dvc.lock").unlink(missing_ok=True)
    result = dvc(folder, "repro")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run dvc in `folder` with the copy's own sources and this interpreter first on the path."""
    environment = dict(os.environ, PYTHONPATH=str(folder / "src"), DVC_NO_ANALYTICS="1",
                       PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


def git(folder: Path, *words: str) -> None:
    """Run git in `folder` as an author of its own."""
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True, capture_output=True)


def publish(folder: Path) -> None:
    """Commit everything."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "results")
