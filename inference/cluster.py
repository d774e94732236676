"""Where work is done that comes in many equal parts: here, or on Dask's workers.

One task at a time in each process, whatever its threads are: Pyro's and torch's generators are
the process's own. A worker that is killed costs the tasks that it was at: Dask gives them to
others.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import torch

from groundvae.data.errors import InputError
from groundvae.guides.workers import HERE, Workers
from groundvae.models.ownfile import loaded

if TYPE_CHECKING:
    from distributed import Client, Future

NONE = "none"
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
ADDRESS = re.compile(r"(tcp|tls)://.+:\d+")
EXPECTED = "expected local:N, tcp://HOST:PORT or none"
AHEAD = 2  # tasks of each worker that are on their way or at work
SELDOM_WATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "2s",
    "distributed.admin.system-monitor.interval": "10s",
}
"""Of workers here: to look at them every few milliseconds took a sixth of their time."""
TIMEOUT = 30.0  # s that a cluster has to answer

T = TypeVar("T")
R = TypeVar("R")
_ALONE = threading.Lock()


class Cluster:
    """Workers of a Dask cluster; tasks are made when somebody is there to do them.

    ``count``: of the workers that were there first; one that is lost changes no chunk.
    """

    def __init__(self, client: Client, *, local: bool = False) -> None:
        from groundvae.inference.beginning import Beginning

        self.client = client
        client.register_plugin(Beginning(loaded(), local=local))
        self.count = self._there()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """As they are done.

        Raises:
            InputError: what a task raises; or it ended one worker after the other.

        """
        from distributed import KilledWorker, as_completed

        waiting = iter(tasks)
        first = [self._submit(function, task) for task in islice(waiting, self._ahead())]
        pending = as_completed(first, loop=self.client.loop)
        for future in pending:
            try:
                done = future.result()
            except KilledWorker as error:
                raise InputError(
                    "a part of the work ended one worker after the other, expected more memory "
                    "for each, or fewer draws"
                ) from error
            for task in islice(waiting, max(1, self._ahead() - pending.count())):
                pending.add(self._submit(function, task))
            yield done

    def _submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        return self.client.submit(alone, function, task, pure=False)

    def _ahead(self) -> int:
        return AHEAD * self._there()

    def _there(self) -> int:
        return max(1, len(self.client.nthreads()))


def alone(function: Callable[[T], R], task: T) -> R:
    """One task, on one thread, while the process does no other."""
    with _ALONE:
        torch.set_num_threads(1)
        return function(task)


@contextmanager
def workers(where: str) -> Iterator[Workers]:
    """Those that ``where`` names.

    Args:
        where: ``none``, this process; ``local:N``, so many processes of this machine; or
            ``tcp://HOST:PORT``, a Dask scheduler, whose workers have groundvae installed and see
            the same files.

    Raises:
        InputError: it names none, nobody answers there, or Dask is not installed.

    Examples:
        >>> with workers("none") as here:
        ...     sorted(here.map(abs, [-1, -2]))
        [1, 2]

    """
    check_cluster(where)
    if where == NONE:
        yield HERE
        return
    import dask
    from distributed import Client, LocalCluster

    for name in ("distributed", "tornado", "asyncio"):  # of workers that end; tasks tell by result
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if local := LOCAL.fullmatch(where):
        with (
            dask.config.set(SELDOM_WATCHED),
            LocalCluster(
                n_workers=int(local[1]),
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # any port that is free
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,  # xarray's own work stays here
        ):
            yield Cluster(client, local=True)
        return
    try:
        client = Client(where, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: no Dask scheduler answers there, {EXPECTED}") from error
    with client:
        yield Cluster(client)


def check_cluster(where: str) -> None:
    """Refuse what names no workers, before the work.

    Raises:
        InputError: likewise, or Dask is not installed.

    """
    if where == NONE:
        return
    if not LOCAL.fullmatch(where) and not ADDRESS.fullmatch(where):
        raise InputError(f"--cluster is {where!r}, {EXPECTED}")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--cluster needs Dask, expected `pip install groundvae[cluster]`"
        ) from error
