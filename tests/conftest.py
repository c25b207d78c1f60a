"""What every test may ask for."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from checkout import git, publish, run_smoke  # noqa: E402


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the project in which `smoke` was run; tests leave it as it is."""
    return run_smoke(tmp_path_factory.mktemp("smoke") / "checkout")


@pytest.fixture
def published(smoke, tmp_path) -> Path:
    """A repository in which the run of `smoke` is committed, with its own DVC cache."""
    folder = tmp_path / "published"
    shutil.copytree(smoke, folder, symlinks=True)
    (folder / ".dvc" / "config.local").unlink()
    (folder / ".gitignore").write_text("/artifacts/\n/.dvc/cache\n/.dvc/tmp\n", encoding="utf-8")
    git(folder, "init", "-q")
    publish(folder)
    return folder
