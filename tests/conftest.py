"""What every test may ask for."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's top folder."""
    return Path(__file__).resolve().parents[1]
