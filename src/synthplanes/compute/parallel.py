"""Run independent calls in parallel: in processes of this machine, or on a Dask cluster.

The environment variable DASK_SCHEDULER_ADDRESS (Dask's own) names a cluster's scheduler. Its workers must see this
checkout's files under the same paths and have one thread each: torch's random state belongs to a whole process.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib

from synthplanes.errors import UserError

ADDRESS = "DASK_SCHEDULER_ADDRESS"
_SECONDS_TO_CONNECT = 30


def run_parallel(function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[Any]:
    """Yield `function(item)` for every item, in order: `processes` at a time, or with all workers of a cluster."""
    address = os.environ.get(ADDRESS)
    if not address:
        yield from joblib.Parallel(n_jobs=processes, return_as="generator")(
            joblib.delayed(function)(item) for item in items)
        return
    try:
        from distributed import Client
        client = Client(address, timeout=_SECONDS_TO_CONNECT)
    except ImportError:
        raise UserError(f"{ADDRESS} is set, and the package 'distributed' is not installed: pip install -c "
                        "requirements.lock -e '.[cluster]', or unset it.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {ADDRESS}={address} ({error}): start it or unset the "
                        "variable.") from None
    with client:
        if several := [name for name, threads in client.nthreads().items() if threads > 1]:
            raise UserError(f"the Dask worker {several[0]} has more than one thread, and runs would share torch's "
                            "random state: start workers with --nthreads 1.")
        yield from (future.result() for future in client.map(function, items, pure=False))
