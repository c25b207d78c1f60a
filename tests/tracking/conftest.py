"""A fake checkout, made once and copied, and one MLflow store that shows it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthplanes import records
from synthplanes.reproduction.checkout import md5
from synthplanes.tracking import store
from tests.fake_checkout import lock, make_checkout, paths
from tests.tracking.small_models import write_models


@pytest.fixture(scope="session")
def untracked(tmp_path_factory) -> Path:
    """A checkout without a store; tests leave it as it is."""
    root = make_checkout(tmp_path_factory.mktemp("untracked"))
    at = paths(root)
    write_models(at)
    for file in (at.artifact("report") / "levels.png", root / "src/synthplanes/report/templates/page.md",
                 *(at.metrics / name for name in ("report.md", "contrasts.png", "real_and_synthetic.png",
                                                  "learning.png", "learning_curves.png"))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of the report")
    records.write_json(at.metrics / "cost.json", {"total": {"runs": 3}})
    lock(root, md5)
    return root


@pytest.fixture
def root(untracked, tmp_path, monkeypatch) -> Path:
    """A copy of it, in which the process works."""
    shutil.copytree(untracked, tmp_path / "checkout")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    return tmp_path / "checkout"


@pytest.fixture(scope="session")
def tracked(untracked, tmp_path_factory) -> Iterator[tuple]:
    """One store for all tests that only look: (root, what the first call said, what the second said)."""
    root = tmp_path_factory.mktemp("tracked") / "checkout"
    shutil.copytree(untracked, root)
    (root / "artifacts" / "mlflow").mkdir()
    # What a killed process leaves.
    (root / "artifacts" / "mlflow" / ".mlflow.db.part").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        first, second = store.track(), store.track()
    yield root, first, second
