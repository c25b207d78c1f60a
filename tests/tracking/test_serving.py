"""`mlflow models serve`: a registered classifier answers over HTTP on the loopback interface as `predict` does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest

from synthplanes.tracking import store
from tests.fake_checkout import ARCH, CLASSES, NAME, SIZE

SOURCE = Path(__file__).resolve().parents[2] / "src"
START = 300  # s at most until the server answers; some ten on idle cores
MODEL = f"models:/{NAME}-{ARCH}@best"


@pytest.fixture(scope="module")
def loaded(tracked):
    """The model as MLflow loads it in this process."""
    mlflow.set_tracking_uri(store.address(store.database(tracked[0])))
    return mlflow.pyfunc.load_model(MODEL)


@pytest.fixture(scope="module")
def served(tracked, tmp_path_factory):
    """The address of a server of the registered classifier, started as a user starts it, from another directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.address(store.database(tracked[0])),
                   "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
                   "DO_NOT_TRACK": "true"}
    log = elsewhere / "log"
    with log.open("wb") as output:
        # A session of its own: the server has workers, and all of them end with it.
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", MODEL, "--env-manager", "local",
             "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=elsewhere, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/ping", process, log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer within {START} s:\n{log.read_text(errors='replace')}")


def ask(address: str, body: dict) -> dict:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_the_answer_over_http_is_that_of_predict(served, loaded, key):
    """Bytes travel as JSON numbers; the signature makes them uint8 again."""
    images = np.random.default_rng(3).integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)
    answer = np.array(ask(served, {key: images.tolist()})["predictions"])
    wanted = loaded.predict(images)
    assert answer.shape == (5, len(CLASSES)) and np.ptp(wanted[:, 0]) > 1e-4  # the images do not all look alike
    np.testing.assert_allclose(answer, wanted, atol=1e-6)


def test_the_stored_example_is_answered(served, loaded):
    """What the model's page offers as an example is a request that works."""
    example = loaded.input_example
    assert example.shape == (1, SIZE, SIZE) and not example.any()
    answer = ask(served, {"inputs": example.tolist()})["predictions"]
    np.testing.assert_allclose(answer, loaded.predict(example.astype(np.uint8)), atol=1e-6)


def test_images_of_another_size_are_refused(served):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(served, {"inputs": np.zeros((1, SIZE + 1, SIZE), int).tolist()})
    assert refused.value.code == 400
