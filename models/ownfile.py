"""Systems in a file of one's own: read by its path, known by what the file defines.

The file is the user's own program and is run as such, like any script that they start.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from groundvae.data.errors import InputError
from groundvae.models.catalogue import Entry
from groundvae.models.declared import entry_of
from groundvae.models.place import line_of
from groundvae.models.system import System
from groundvae.models.systems import SYSTEMS

PREFIX = "groundvae_file_"  # of the modules
CHOICE = ":"  # between a file and the name of one of its systems


def find_system(name: str) -> Entry:
    """A system by its name, or of a file: ``spring.py``, or ``springs.py:Second`` of several.

    Raises:
        InputError: no such system or file; a file that fails or defines no system, or several.

    """
    path, _, chosen = name.partition(CHOICE)
    if not path.endswith(".py"):
        return SYSTEMS[name]
    found = entries_of(Path(path))
    if chosen:
        matching = [entry for entry in found if entry.name == chosen]
        if not matching:
            known = ", ".join(entry.name for entry in found)
            raise InputError(f"{path}: has no system {chosen!r}, known: {known}")
        return matching[0]
    if len(found) > 1:
        names = ", ".join(f"{path}{CHOICE}{entry.name}" for entry in found)
        raise InputError(f"{path}: has several systems, expected one of {names}")
    return found[0]


def entries_of(path: Path) -> list[Entry]:
    """All systems of a file: those that it registers, else those that it defines.

    Raises:
        InputError: no such file, one that fails, or one without a system.

    """
    module = load(path)
    where = str(path.resolve())
    registered = [SYSTEMS[name] for name in SYSTEMS if SYSTEMS[name].file == where]
    if registered:
        return registered
    kinds = [k for k in vars(module).values() if _own_system(k, module)]
    if not kinds:
        raise InputError(f"{path}: defines no system, expected a class of gv.Dynamics or another")
    return [entry_of(kind.__name__, kind) for kind in kinds]


def load(path: Path) -> ModuleType:
    """The file as a module; the same module for the same content."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a Python file that declares a system")
    name = f"{PREFIX}{path.stem}_{digest(path)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # anything can happen in somebody's file, SystemExit included
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        line, kind = line_of(error, path), type(error).__name__
        place = f"{path}: " if line is None else f"{path}: line {line}: "
        told = str(error) if isinstance(error, InputError) else f"{kind}: {error}"
        raise InputError(place + told) from error
    return module


def loaded() -> list[Path]:
    """The files that were read so far, and are still there."""
    own = [module.__file__ for name, module in sys.modules.items() if name.startswith(PREFIX)]
    return [Path(file) for file in own if file is not None and Path(file).is_file()]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _own_system(kind: object, module: ModuleType) -> bool:
    abstract = bool(getattr(kind, "__abstractmethods__", None))
    return (
        isinstance(kind, type)
        and issubclass(kind, System)
        and kind.__module__ == module.__name__
        and not abstract
    )
