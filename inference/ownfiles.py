"""Users' own files on a cluster: a worker knows the classes of a file once it has read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distributed import Worker, WorkerPlugin

from groundvae.models.ownfile import load


class OwnFiles(WorkerPlugin):
    """Read by every worker when it begins, also by one that takes the place of another.

    Args:
        paths: of the files, which the workers see as well.

    """

    name = "groundvae-own-files"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def setup(self, worker: Worker) -> None:
        for path in self.paths:
            load(path)
