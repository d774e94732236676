"""Where to compute: the processor, or a graphics card where there is one."""

from __future__ import annotations

import torch

from groundvae.data.errors import InputError


def check_device(name: str) -> None:
    """Refuse a device that this machine lacks, before any work."""
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError(name)
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not available, expected cpu or cuda") from error
