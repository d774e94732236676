"""The user's cache folder: where it cannot be written, one that is thrown away takes its place.

ArviZ does not even import without such a folder, and Matplotlib complains.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")


def ensure_cache() -> None:
    """Name a folder that can be written, in the environment, unless the user's own can."""
    if _usable():
        return
    folder = tempfile.mkdtemp(prefix="groundvae-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(dict.fromkeys(VARIABLES, folder))


def _usable() -> bool:
    try:
        named = os.environ.get("XDG_CACHE_HOME")
        folder = Path(named) if named else Path.home() / ".cache"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # there may be no home at all
        return False
    return os.access(folder, os.W_OK)
