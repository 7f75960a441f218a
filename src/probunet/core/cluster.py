"""Work on a Dask cluster: on many machines that share a disk, with retries, memory limits and a dashboard of its own.

Every loop that runs through joblib takes it as it is. Files are those of one process: what a worker that was killed had
not finished is done again by another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib import Parallel, delayed

from probunet.core.console import console, progress_bar
from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.core.shards import Shard

Result = TypeVar("Result")
SHARDS = 4
"""For every thread of the workers, so that a slow worker keeps nobody waiting for long."""


@contextmanager
def on_cluster(address: str | None) -> Iterator[int]:
    """Have joblib's work done by the workers of a Dask cluster; by this machine where there is no address.

    Args:
        address: of its scheduler, for example ``tcp://10.0.0.1:8786``.

    Yields:
        How many threads all workers have; 0 without a cluster.

    Raises:
        InputError: Dask is not installed, nobody answers there, or the cluster has no worker.
    """
    if address is None:
        yield 0
        return
    Client = require("distributed", "--cluster").Client
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it would say here is said in one sentence
    try:
        client = Client(address, timeout="10s", set_as_default=True)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--cluster {address[:80]}: no Dask scheduler answers there; give tcp://HOST:PORT") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise InputError(f"--cluster {address[:80]} has no workers; start some: dask worker {address[:80]}")
        with joblib.parallel_config(backend="dask"):
            yield threads


def anywhere(path: Path, cluster: str | None) -> Path:
    """The path for processes that work in another folder, where there is a cluster; as it is otherwise."""
    return path.absolute() if cluster else path


def in_shards(address: str, title: str, work: Callable[[Shard], Result]) -> list[Result]:
    """Do work in shards on a cluster.

    Args:
        address: of the scheduler.
        title: of the progress bar.
        work: does the work of one shard, in a process elsewhere; picklable, and harmless when it is done twice.

    Returns:
        What it gave for each shard, in the order of the shards.

    Raises:
        InputError: as :func:`on_cluster`, or whatever the work raises.
    """
    with on_cluster(address) as threads, progress_bar() as bar:
        count = SHARDS * threads
        task = bar.add_task(title, total=count)
        results: list[Result] = []
        workers: Any = Parallel(n_jobs=-1, return_as="generator", batch_size=1, pre_dispatch="all")
        for result in workers(delayed(_quietly)(work, Shard(index, count)) for index in range(count)):
            results.append(result)
            bar.advance(task)
    return results


def _quietly(work: Callable[[Shard], Result], shard: Shard) -> Result:
    """Work in a process that nobody watches."""
    console.quiet = True
    return work(shard)
