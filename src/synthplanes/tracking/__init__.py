"""Show results in MLflow: a projection of DVC's files that can be rebuilt from a checkout at any time."""

import os
from pathlib import Path

# Before any module of this folder imports MLflow: no settings of another store, no telemetry, no progress bars, no log.
for _name in [name for name in os.environ if name.startswith("MLFLOW_") and name != "MLFLOW_LOGGING_LEVEL"]:
    del os.environ[_name]
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
               "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")


def database(root: Path) -> Path:
    """Return the place of the store's SQLite file in the checkout at `root`."""
    return root / "artifacts" / "mlflow" / "mlflow.db"
