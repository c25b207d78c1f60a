"""What every test may ask for."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from checkout import run_smoke  # noqa: E402


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the project in which `smoke` was run; tests leave it as it is."""
    return run_smoke(tmp_path_factory.mktemp("smoke") / "checkout")
