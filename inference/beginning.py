"""What a worker of a cluster does first, also one that takes the place of another."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from distributed import Worker, WorkerPlugin

from groundvae.inference.heap import keep_freed
from groundvae.inference.interruption import NAMES
from groundvae.models.ownfile import load


class Beginning(WorkerPlugin):
    """Read users' own files, so that tasks find their classes; leave signals to who asks.

    Memory that a task frees is kept for the next: Dask's workers give it back to the system page by
    page, which took a tenth of the time of a sweep.

    Args:
        files: that were read where the tasks are made; the workers see them as well.
        local: whether the worker belongs to the process that asks, and ends with it: what a
            terminal sends to both (Ctrl-C) is that one's to answer, which saves what there is.

    """

    name = "groundvae-beginning"

    def __init__(self, files: Sequence[Path], *, local: bool) -> None:
        self.files, self.local = files, local

    def setup(self, worker: Worker) -> None:
        keep_freed()
        for file in self.files:
            load(file)
        for name in NAMES if self.local else ():
            if name != "SIGTERM" and hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
