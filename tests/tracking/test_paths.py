"""Paths, links, ports and settings of others: the store is made whole, or refused before anything is made."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthplanes.errors import UserError
from synthplanes.tracking import database, store


@pytest.mark.parametrize("name", ["with %20", "a?b", "100%", "/".join(["n" * 120] * 4)])
def test_a_path_that_no_store_can_have_is_refused_at_once(tmp_path, monkeypatch, name):
    root = tmp_path / name
    root.mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "dvc.lock").write_text("stages: {}\n")
    before, begun = sorted(tmp_path.rglob("*")), time.monotonic()
    monkeypatch.setenv("DVC_ROOT", str(root))
    with pytest.raises(UserError, match="MLflow cannot keep a store at .*: move the checkout to another folder"):
        store.track()
    assert sorted(tmp_path.rglob("*")) == before and time.monotonic() - begun < 5


@pytest.mark.parametrize("name", ["-a#b, c'd\"", "äö;[x]&b=c@d:e"])
def test_a_store_opens_where_its_path_says(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    store._make_database(root / "mlflow.db")
    assert sorted(tmp_path.rglob("*")) == [root, root / "mlflow.db"]


def test_outputs_that_dvc_links_into_its_cache_are_shown(untracked, tmp_path, monkeypatch):
    """`cache.type symlink`: every file of an output is a link to a file with another name."""
    root, cache = tmp_path / "checkout", tmp_path / "cache"
    shutil.copytree(untracked, root)
    cache.mkdir()
    for number, file in enumerate(path for path in sorted((root / "artifacts").rglob("*")) if path.is_file()):
        file.rename(cache / str(number))
        file.symlink_to(cache / str(number))
    monkeypatch.setenv("DVC_ROOT", str(root))
    told = store.track()
    assert told.new_versions == 2 and told.runs["new"] > 50
    kept = [path for path in database(root).parent.rglob("*") if path.is_file()]
    assert not [path for path in kept if path.is_symlink()] and [path for path in kept if path.suffix == ".safetensors"]


def test_a_used_port_is_named_with_the_remedy(root, monkeypatch):
    database(root).parent.mkdir(parents=True)
    database(root).write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used .*--port"):
            store.serve(port)


def test_settings_of_another_store_have_no_say(tmp_path):
    """MLflow would take registry, workers and prefixes from them."""
    program = "import os, synthplanes.tracking; print(*sorted(n for n in os.environ if n.startswith('MLFLOW_')))"
    foreign = {"MLFLOW_TRACKING_URI": "http://nowhere", "MLFLOW_REGISTRY_URI": "http://nowhere", "MLFLOW_RUN_ID": "x"}
    printed = subprocess.run([sys.executable, "-c", program], env={**os.environ, **foreign}, capture_output=True,
                             text=True, check=True, cwd=Path(__file__).parents[2]).stdout.split()
    assert printed == ["MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MLFLOW_LOGGING_LEVEL"]
