"""The local MLflow store: one sqlite file and one folder, both rebuildable, both outside of version control.

MLflow keeps absolute paths of its files, so the store belongs to one checkout and is never shipped.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from synthplanes.errors import UserError
from synthplanes.tracking.projection import Run

EXPERIMENT = "synthplanes"
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"  # opens on runs and metrics, not on chat traces
NOTE_TAG, NOTE = "mlflow.note.content", (
    "One run per cell of dvc.lock (`tags.kind = 'stage'`) and one per classifier (`tags.kind = 'classifier'`), made by "
    "`synthplanes track` from DVC's files. `tags.in_current_lock = 'yes'` leaves out what earlier checkouts had. To "
    "compare arms, group by the tag `arm` and look at `balanced_accuracy`. A DVC digest is found by "
    "`tags.dvc_outputs LIKE '%digest%'`, all that rests on one generator by `tags.generator`.")
KEY, CONTENT, IN_LOCK = "synthplanes.key", "synthplanes.content", "in_current_lock"
_METRICS_AT_A_TIME, _PARAMS_AT_A_TIME = 1000, 100  # limits of MLflow's log_batch
_VALUE_LIMIT = 6000  # characters of a parameter
_REFUSALS = ("database or disk is full", "attempt to write a readonly database", "disk I/O error")  # SQLite's words
_TIME_MS = 0  # of every metric: the same point written twice stays one point


def silence() -> None:
    """Before MLflow is imported: no telemetry, no progress bars, no chatter about its database."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")


def address(root: Path) -> str:
    """The store's address in the checkout at `root`."""
    return f"sqlite:///{Path(root) / 'artifacts' / 'mlflow' / 'mlflow.db'}"


class Store:
    """Upserts runs by their key."""

    def __init__(self, root: Path):
        """Open the store of the checkout at `root`; the first time its tables are made, which takes seconds."""
        silence()
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError
        folder = Path(root) / "artifacts" / "mlflow"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self.address = address(root)
        try:
            _check_database(folder / "mlflow.db")
            if not (folder / "mlflow.db").exists():
                _make_database(folder / "mlflow.db")
            self.client = MlflowClient(tracking_uri=self.address, registry_uri=self.address)
            experiment = self.client.get_experiment_by_name(EXPERIMENT)
        except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
            raise _full(folder, error) or UserError(
                f"{folder} cannot be opened ({' '.join(str(error).split()):.160}): delete this folder and run "
                "`synthplanes track` again, which makes it anew.") from None
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(
            EXPERIMENT, artifact_location=(folder / "files").resolve().as_uri())
        for name, value in ((KIND_TAG, KIND), (NOTE_TAG, NOTE)):
            if experiment is None or experiment.tags.get(name) != value:
                self.client.set_experiment_tag(self.experiment, name, value)
        self.known = {run.data.tags[KEY]: run for run in self._runs() if KEY in run.data.tags}

    def _runs(self) -> Iterator:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def upsert(self, run: Run) -> str:
        """Make the store show `run`; returns `new`, `updated` (it showed something else before) or `same`."""
        before = self.known.get(run.key)
        if before is not None and before.data.tags.get(CONTENT) == run.content:
            # What was tracked before it was committed learns its commit here; all else stays as first written.
            missing = {name: value for name, value in run.origin.items() if name not in before.data.tags}
            if before.data.tags.get(IN_LOCK) != "yes":
                missing[IN_LOCK] = "yes"
            for name, value in missing.items():
                self.client.set_tag(before.info.run_id, name, value)
            return "same"
        if before is None:
            made = self.client.create_run(self.experiment, run_name=run.name, tags={**run.tags, KEY: run.key})
        else:
            made = before
        run_id = made.info.run_id
        for path, folder in run.files.items():
            self.client.log_artifact(run_id, str(path), folder)
        if run.inputs:
            self.client.log_inputs(run_id, datasets=_datasets(run.inputs))
        self.client.set_terminated(run_id, end_time=made.info.start_time)  # how long it took to write tells nothing
        self._log(run_id, run)
        self.known[run.key] = made
        return "new" if before is None else "updated"

    def mark_others(self, keys: set[str]) -> int:
        """Tag the runs of earlier checkouts, which stay for comparison; returns how many changed."""
        stale = [run for key, run in self.known.items() if key not in keys and run.data.tags.get(IN_LOCK) == "yes"]
        for run in stale:
            self.client.set_tag(run.info.run_id, IN_LOCK, "no")
        return len(stale)

    def _log(self, run_id: str, run: Run) -> None:
        from mlflow.entities import Metric, Param, RunTag
        metrics = [Metric(name, value, _TIME_MS, 0) for name, value in run.metrics.items()]
        metrics += [Metric(name, value, _TIME_MS, step) for name, curve in run.curves.items() for step, value in curve]
        params = [Param(name, value[:_VALUE_LIMIT]) for name, value in run.params.items()]
        # The tags come with the last batch: a run that was cut off half-way lacks them and is written again.
        tags = [RunTag(name, value) for name, value in {**run.tags, **run.origin, IN_LOCK: "yes",
                                                    CONTENT: run.content}.items()]
        room = _METRICS_AT_A_TIME - _PARAMS_AT_A_TIME - len(tags)
        while True:
            last = len(metrics) <= room and len(params) <= _PARAMS_AT_A_TIME
            self.client.log_batch(run_id, metrics[:room], params[:_PARAMS_AT_A_TIME], tags if last else [])
            if last:
                return
            metrics, params = metrics[room:], params[_PARAMS_AT_A_TIME:]


def find_run(root: Path, key: str) -> str | None:
    """The id of the run with this key in the store of the checkout at `root`; None where there is none.

    Reads MLflow's table of tags by itself: loading MLflow takes seconds.
    """
    return _one_value(root, "SELECT run_uuid FROM tags WHERE key = ? AND value = ?", KEY, key)


def runs_page(root: Path, port: int) -> str:
    """The address of the list of runs in the user interface, with the menu for training and not for chat."""
    experiment = _one_value(root, "SELECT experiment_id FROM experiments WHERE name = ?", EXPERIMENT)
    return f"http://127.0.0.1:{port}" + (
        f"/#/experiments/{experiment}/runs?workflowType=machine_learning" if experiment is not None else "")


def _one_value(root: Path, query: str, *values: str):
    path = Path(root) / "artifacts" / "mlflow" / "mlflow.db"
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(query, values).fetchone()
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be read ({error}): delete its folder and run `synthplanes track` again, which "
                        "makes it anew.") from None
    return found and found[0]


@contextmanager
def one_sentence(root: Path):
    """Says a full or read-only disk below the store of `root` in one sentence; other errors keep their traceback."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError
    folder = Path(root) / "artifacts" / "mlflow"
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise _full(folder, error) or error from None


def _full(folder: Path, error: Exception) -> UserError | None:
    words = " ".join(str(error).split())
    found = next((refusal for refusal in _REFUSALS if refusal in words), None)
    return found and UserError(f"{folder} could not be written ({found}): free or mend the disk, then run `synthplanes "
                               "track` again.")


def _make_database(path: Path) -> None:
    """MLflow makes its tables in many steps, and a file that was left between two of them can never be opened again: so
    it is made beside its place and moved there whole."""
    from mlflow.tracking import MlflowClient
    part = path.with_name(f".{path.name}.part")
    for old in path.parent.glob(f"{part.name}*"):
        old.unlink()
    where = f"sqlite:///{part}"
    MlflowClient(tracking_uri=where, registry_uri=where).get_experiment_by_name(EXPERIMENT)
    os.replace(part, path)


def _check_database(path: Path) -> None:
    """Raise `sqlite3.Error` if the file exists and is no database: MLflow would retry for long and then crash."""
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")


def _datasets(inputs: dict[str, str]) -> list:
    """Data sets by their DVC path, with DVC's md5 as their digest; no data are copied."""
    from mlflow.entities import Dataset, DatasetInput
    return [DatasetInput(tags=[], dataset=Dataset(name=path, digest=md5, source_type="dvc",
                                                  source=json.dumps({"path": path, "md5": md5})))
            for path, md5 in sorted(inputs.items()) if md5]


