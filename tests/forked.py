"""Start processes within milliseconds: forked from a server that has imported what the jobs need."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

_PRELOADED = ["tests.resumable_jobs", "tests.shared_jobs", "mlflow.store.tracking.sqlalchemy_store",
              "mlflow.store.model_registry.sqlalchemy_store"]


def start(function: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Call a function of one of those modules in a process of its own; return the process, which has begun."""
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)  # read when the server starts, at the first call
    root = Path(__file__).parents[1]
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{root / 'src'}"  # where the server finds `tests` and what they test
    process = context.Process(target=function, args=arguments)
    process.start()
    return process
