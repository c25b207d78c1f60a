"""`synthplanes track` and `synthplanes ui`: the checkout's results in the local MLflow store, and a look at it."""

import os
import sys
from dataclasses import dataclass, field

from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.tracking import candidates, projection, store
from synthplanes.reproduction.checkout import Checkout, find_root, read_checkout


@dataclass
class Tracked:
    """What one call of `track` did."""

    runs: dict[str, int]          # new, updated, same -> how many
    new_versions: int
    left_out: list[str] = field(default_factory=list)

    def summary(self, list_left_out: bool) -> str:
        lines = [f"{sum(self.runs.values())} runs: {self.runs['new']} new, {self.runs['updated']} updated, "
                 f"{self.runs['same']} as before; {self.new_versions} new model versions"]
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out:" if list_left_out else f"{len(self.left_out)} left out")
            lines += [f"  {sentence}" for sentence in self.left_out if list_left_out]
        return "\n".join(lines)


def track() -> Tracked:
    """Bring the store of this checkout up to its dvc.lock; a second call changes nothing."""
    root = find_root()
    checkout = read_checkout(root)
    shown = projection.project(checkout)
    into = store.Store(root)
    with store.one_sentence(root):
        return _write(into, checkout, shown)


def _write(into: store.Store, checkout: Checkout, shown: projection.Projection) -> Tracked:
    from synthplanes.tracking.registry import register
    runs = {"new": 0, "updated": 0, "same": 0}
    progress = Progress("track", len(shown.runs), "runs")
    for done, run in enumerate(shown.runs, start=1):
        runs[into.upsert(run)] += 1
        progress(done)
    by_key = {run.key: run for run in shown.runs}
    into.mark_others(set(by_key))
    new_versions, left_out = 0, list(shown.left_out)
    for find in (candidates.classifiers, candidates.generators):
        found, lacking = find(checkout)
        left_out += lacking
        for candidate in found:
            new_versions += register(into, candidate, by_key[candidate.cell.key])
    return Tracked(runs, new_versions, left_out)


def serve(port: int) -> None:
    """Become MLflow's user interface on 127.0.0.1; does not return."""
    root = find_root()
    if not (root / "artifacts" / "mlflow" / "mlflow.db").is_file():
        raise UserError(f"{root / 'artifacts' / 'mlflow'} holds no store yet: run `synthplanes track` first.")
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is no port: give a number from 1 to 65535 with --port.")
    store.silence()
    print(f"{store.runs_page(root, port)} in some seconds (Ctrl-C ends it)", file=sys.stderr, flush=True)
    # One worker: every further one loads MLflow again, and one person looks.
    words = ["-m", "mlflow", "ui", "--backend-store-uri", store.address(root), "--host", "127.0.0.1",
             "--port", str(port), "--workers", "1"]
    # In the place of this process, so that a signal reaches the server itself.
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONWARNINGS": "ignore"})
