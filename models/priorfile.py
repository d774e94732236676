"""A file of priors: TOML with one line a latent, ``omega = "LogNormal(0.5, 0.4)"``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from groundvae.data.errors import InputError


def read_priors(path: Path) -> dict[str, str]:
    """The priors of a file, by name, as text.

    Raises:
        InputError: no such file, no TOML, or something else than text under a name.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no TOML ({' '.join(str(error).split())})") from error
    for name, value in values.items():
        if not isinstance(value, str):
            raise InputError(
                f'{path}: {name} is no text, expected a line such as omega = "LogNormal(0.5, 0.4)"'
            )
    return values
