"""Bring the local MLflow store up to date and serve it: one SQLite file and one folder, which can be made anew.

MLflow keeps absolute paths of its files, so the store belongs to one checkout and is never shipped.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.reproduction.checkout import find_root, read_checkout
from synthplanes.tracking import database
from synthplanes.tracking.projection import Run, project
from synthplanes.tracking.registry import candidates, register

EXPERIMENT = "synthplanes"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # opens on runs and metrics, not on chat traces
    "mlflow.note.content":
        "One run per entry of dvc.lock (`tags.kind = 'stage'`) and one per classifier (`tags.kind = 'classifier'`), "
        "made by `synthplanes track` from DVC's files. `tags.in_current_lock = 'yes'` leaves out the runs of earlier "
        "revisions. To compare arms, group by the tag `arm` and look at `balanced_accuracy`. `tags.dvc_outputs LIKE "
        "'%md5%'` finds the run that wrote a file, `tags.generator` all that rests on one generator."}
KEY, CONTENT, IN_LOCK = "synthplanes.key", "synthplanes.content", "in_current_lock"
_METRICS_AT_A_TIME, _PARAMS_AT_A_TIME = 800, 100  # MLflow's log_batch takes 1000 entries, 100 parameters among them
_RUNS_AT_MOST = 50_000  # that MLflow returns at a time
_PATH_LIMIT = 480  # bytes of a path; SQLite takes 512, and its journals and our temporary names add some
_VALUE_LIMIT = 6000  # characters of a parameter
_REFUSALS = ("database or disk is full", "attempt to write a readonly database", "disk I/O error")  # SQLite's words
_TIME_MS = 0  # of every metric: the same point written twice stays one point


def address(file: Path) -> str:
    """Return the URI of an SQLite file; a path that cannot stand in one raises `UserError`.

    MLflow takes the path out of it in several ways, so that no quoting suits all of them.
    """
    if fault := next((f"holds {letter!r}" for letter in "?%" if letter in str(file)), "") or (
            "is too long" if len(os.fsencode(file)) > _PATH_LIMIT else ""):
        raise UserError(f"MLflow cannot keep a store at {file}, for this path {fault}: move the checkout to another "
                        "folder, then run the same command again.")
    return f"sqlite:///{file}"


class Store:
    """The local MLflow store, with one run per key."""

    def __init__(self, root: Path):
        """Open the store of the checkout at `root`; the first time its tables are made, which takes seconds."""
        file = database(root)
        self.folder, place = file.parent, address(file)
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        with self.faults("it cannot be opened"):
            if not file.exists():
                _make_database(file)
            elif not _is_sqlite(file):  # MLflow would retry for minutes
                raise MlflowException("file is not a database")
            self.client = MlflowClient(place, registry_uri=place)
            experiment = self.client.get_experiment_by_name(EXPERIMENT)
            self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(
                EXPERIMENT, (self.folder / "files").resolve().as_uri(), EXPERIMENT_TAGS)

    @contextmanager
    def faults(self, fault: str = "") -> Iterator[None]:
        """Raise a fault of the disk as `UserError` and, with `fault`, any other fault of the database."""
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            words = " ".join(str(error).split())
            if refusal := next((refusal for refusal in _REFUSALS if refusal in words), None):
                raise UserError(f"{self.folder} could not be written ({refusal}): free or mend the disk, then run "
                                "`synthplanes track` again.") from None
            if not fault:
                raise
            raise UserError(f"{self.folder}: {fault} ({words:.160}): delete this folder and run `synthplanes track` "
                            "again, which makes it anew.") from None

    @cached_property
    def known(self) -> dict[str, StoredRun]:
        """Return all runs by their key."""
        runs = self.client.search_runs([self.experiment], max_results=_RUNS_AT_MOST)
        return {run.data.tags[KEY]: run for run in runs if KEY in run.data.tags}

    def find(self, key: str) -> str | None:
        """Return the id of the run with a key; None where there is none."""
        runs = self.client.search_runs([self.experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def put(self, run: Run) -> str:
        """Make the store show `run`; return `new`, `updated` (rewritten, because it differed) or `same`."""
        before = self.known.get(run.key)
        if before is not None and before.data.tags.get(CONTENT) == run.content:
            # A run tracked before it was committed gets its commit here; everything else stays as first written.
            tags = {**run.origin, **before.data.tags, IN_LOCK: "yes"}
            for name, value in tags.items() - before.data.tags.items():
                self.client.set_tag(before.info.run_id, name, value)
            return "same"
        if before is not None:
            self.client.delete_run(before.info.run_id)
        made = self.client.create_run(self.experiment, run_name=run.name, tags={**run.tags, KEY: run.key})
        run_id = made.info.run_id
        for path, folder in run.files.items():
            self.client.log_artifact(run_id, str(path), folder)
        if run.inputs:
            self.client.log_inputs(run_id, datasets=[  # named by path and md5; no data are copied
                DatasetInput(Dataset(path, md5, "dvc", json.dumps({"path": path, "md5": md5})))
                for path, md5 in sorted(run.inputs.items()) if md5])
        self.client.set_terminated(run_id, end_time=made.info.start_time)  # else it would show the time of writing
        self._log(run_id, run)
        self.known[run.key] = made
        return "new" if before is None else "updated"

    def mark_others(self, keys: set[str]) -> None:
        """Tag the runs of earlier revisions, which stay for comparison."""
        for key, run in self.known.items():
            if key not in keys and run.data.tags.get(IN_LOCK) == "yes":
                self.client.set_tag(run.info.run_id, IN_LOCK, "no")

    def _log(self, run_id: str, run: Run) -> None:
        curves = {name: [(0, value)] for name, value in run.metrics.items()} | run.curves
        metrics = [Metric(name, value, _TIME_MS, step) for name, curve in curves.items() for step, value in curve]
        params = [Param(name, value[:_VALUE_LIMIT]) for name, value in run.params.items()]
        tags = [RunTag(name, value) for name, value in {**run.origin, IN_LOCK: "yes", CONTENT: run.content}.items()]
        parts = max(1, -(-len(metrics) // _METRICS_AT_A_TIME), -(-len(params) // _PARAMS_AT_A_TIME))
        for part in range(parts):
            # The tags come with the last part, so an interrupted run lacks them and is written again the next time.
            self.client.log_batch(run_id, metrics[part * _METRICS_AT_A_TIME:(part + 1) * _METRICS_AT_A_TIME],
                                  params[part * _PARAMS_AT_A_TIME:(part + 1) * _PARAMS_AT_A_TIME],
                                  tags if part == parts - 1 else [])


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16) == b"SQLite format 3\0"


def _make_database(file: Path) -> None:
    """Make MLflow's tables beside the place of `file` and move them there whole: half of them cannot be opened."""
    part = file.with_name(f".{file.name}.part")
    for old in file.parent.glob(f"{part.name}*"):
        old.unlink()
    MlflowClient(address(part)).get_experiment_by_name(EXPERIMENT)
    os.replace(part, file)


@dataclass(frozen=True)
class Tracked:
    """The result of one call of `track`."""

    runs: dict[str, int]  # new | updated | same -> how many
    new_versions: int     # of registered models
    left_out: list[str]   # what could not be shown or registered, in sentences

    def summary(self, list_left_out: bool) -> str:
        """Return the counts, and one line per thing that was left out if asked for."""
        lines = [f"{sum(self.runs.values())} runs: {self.runs['new']} new, {self.runs['updated']} updated, "
                 f"{self.runs['same']} as before; {self.new_versions} new model versions"]
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out" + (":" if list_left_out else ""))
            lines += [f"  {sentence}" for sentence in self.left_out if list_left_out]
        return "\n".join(lines)


def track() -> Tracked:
    """Bring the store of this checkout up to its dvc.lock; a second call changes nothing."""
    root = find_root()
    checkout = read_checkout(root)
    runs, left_out = project(checkout)
    counts, progress, store = {"new": 0, "updated": 0, "same": 0}, Progress("track", len(runs), "runs"), Store(root)
    with store.faults():
        for done, run in enumerate(runs, start=1):
            counts[store.put(run)] += 1
            progress(done)
        stored = {run.key: (run, store.known[run.key].info.run_id) for run in runs}
        store.mark_others(set(stored))
        chosen, not_registered = candidates(checkout)
        new_versions = sum(register(store.client, candidate, *stored[candidate.stage.key]) for candidate in chosen)
    return Tracked(counts, new_versions, left_out + not_registered)


def serve(port: int) -> None:
    """Replace this process by MLflow's user interface on 127.0.0.1; this never returns."""
    root = find_root()
    if not database(root).is_file():
        raise UserError(f"{database(root).parent} holds no store yet: run `synthplanes track` first.")
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is no port: give a number from 1 to 65535 with --port.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): end what listens there, or "
                            f"give another one with --port, such as {port + 1 if port < 65535 else 5001}.") from None
    print(f"{runs_page(Store(root), port)} in some seconds (Ctrl-C ends it)", file=sys.stderr, flush=True)
    # One worker: every further one loads MLflow again, and there is a single user.
    words = ["-m", "mlflow", "ui", "--backend-store-uri", address(database(root)), "--host", "127.0.0.1",
             "--port", str(port), "--workers", "1"]
    # Replaces this process, so that a signal reaches the server itself.
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONWARNINGS": "ignore"})


def runs_page(store: Store, port: int) -> str:
    """Return the address of the list of runs in the user interface, with the menu for training and not for chat."""
    return f"http://127.0.0.1:{port}/#/experiments/{store.experiment}/runs?workflowType=machine_learning"
