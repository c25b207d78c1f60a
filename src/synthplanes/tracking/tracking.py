"""Show the checkout's results in the local MLflow store, and open MLflow's user interface on it."""

import os
import sys
from dataclasses import dataclass, field

from synthplanes.errors import UserError
from synthplanes.progress import Progress
from synthplanes.reproduction.checkout import find_root, read_checkout
from synthplanes.tracking import database
from synthplanes.tracking.projection import project
from synthplanes.tracking.registry import candidates, register
from synthplanes.tracking.store import Store, address


@dataclass
class Tracked:
    """The result of one call of `track`."""

    runs: dict[str, int] = field(default_factory=lambda: {"new": 0, "updated": 0, "same": 0})
    new_versions: int = 0
    left_out: list[str] = field(default_factory=list)

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
    tracked, store, progress = Tracked(), Store(root), Progress("track", len(runs), "runs")
    with store.faults():
        for done, run in enumerate(runs, start=1):
            tracked.runs[store.put(run)] += 1
            progress(done)
        by_key = {run.key: run for run in runs}
        store.mark_others(set(by_key))
        chosen, not_registered = candidates(checkout)
        for candidate in chosen:
            tracked.new_versions += register(store, candidate, by_key[candidate.stage.key])
    tracked.left_out = left_out + not_registered
    return tracked


def serve(port: int) -> None:
    """Replace this process by MLflow's user interface on 127.0.0.1; this never returns."""
    root = find_root()
    if not database(root).is_file():
        raise UserError(f"{database(root).parent} holds no store yet: run `synthplanes track` first.")
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is no port: give a number from 1 to 65535 with --port.")
    print(f"{runs_page(Store(root), port)} in some seconds (Ctrl-C ends it)", file=sys.stderr, flush=True)
    # One worker: every further one loads MLflow again, and there is a single user.
    words = ["-m", "mlflow", "ui", "--backend-store-uri", address(database(root)), "--host", "127.0.0.1",
             "--port", str(port), "--workers", "1"]
    # Replaces this process, so that a signal reaches the server itself.
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONWARNINGS": "ignore"})


def runs_page(store: Store, port: int) -> str:
    """Return the address of the list of runs in the user interface, with the menu for training and not for chat."""
    return f"http://127.0.0.1:{port}/#/experiments/{store.experiment}/runs?workflowType=machine_learning"
