"""What every test may ask for."""

import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock

import synthplanes  # noqa: F401  # before numpy loads: it fixes the CPU instructions

sys.path.insert(0, str(Path(__file__).parent))
from checkout import commit, copy_checkout, git, run_smoke  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-kills", action="store_true", help="kill every stage at every place, not at drawn ones")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the project in which `smoke` was run, once for all workers; tests leave it as it is."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the session; each worker has a folder below it
    folder, done = base / "smoke", base / "smoke.done"
    with FileLock(base / "smoke.lock"):
        if folder.exists() and not done.exists():
            pytest.fail("the smoke run failed, see the first test that asked for it")
        if not done.exists():
            run_smoke(folder)
            done.touch()
    return folder


@pytest.fixture
def published(smoke, tmp_path) -> Path:
    """A repository in which the run of `smoke` is committed, with its own DVC cache."""
    folder = copy_checkout(smoke, tmp_path / "published")
    (folder / ".dvc" / "config.local").unlink()
    git(folder, "init", "-q")
    for key in ("user.name", "user.email"):  # an annotated tag has an author
        git(folder, "config", key, "a@b")
    commit(folder)
    return folder
