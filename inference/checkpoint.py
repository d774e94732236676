"""Checkpoints: the state of a fit under way in one file, from which it goes on to the last bit.

The file is safetensors; plain values stand in its header as JSON. Nothing is pickled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save

from groundvae.data.atomic import write_together
from groundvae.guides.state import State

FILE = "checkpoint.safetensors"
EVERY, LONGEST = 15.0, 25.0  # seconds between two; a phase's beginning and end leave one as well
SHARE = 0.05  # of a fit's time, that writing them may take, where that is not longer


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and plain values: all that a fit goes on from."""

    tensors: State
    values: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replace the checkpoint of a folder.

        Raises:
            InputError: it cannot be written.

        """
        # Copies: tensors that share their memory cannot be written.
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in self.tensors.items()}
        content = save(tensors, {"values": json.dumps(self.values)})
        write_together(folder, {FILE: content}, FILE)

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """The checkpoint of a folder."""
        with safe_open(folder / FILE, "pt") as stream:
            values = json.loads(stream.metadata()["values"])
        return cls(load_file(folder / FILE), values)


class Checkpoints:
    """What a fit leaves behind on its way.

    Args:
        leave: takes a checkpoint and keeps it; its errors are its own.
        resumed: from where the fit goes on; None: from its beginning.

    """

    def __init__(
        self, leave: Callable[[Checkpoint], None] | None = None, resumed: Checkpoint | None = None
    ) -> None:
        self._leave, self.resumed = leave, resumed
        self._last, self._cost = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether the last one is old enough, beside what it cost."""
        since = time.monotonic() - self._last
        return self._leave is not None and since >= min(max(EVERY, self._cost / SHARE), LONGEST)

    def leave(self, take: Callable[[], Checkpoint]) -> None:
        """Leave what ``take`` gives."""
        if self._leave is None:
            return
        start = time.monotonic()
        self._leave(take())
        self._last = time.monotonic()
        self._cost = self._last - start
