"""The Source: where the data of a system come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from groundvae.data.dataset import Dataset
from groundvae.data.measurement import Measured, measure_any
from groundvae.data.root import Splits


@dataclass(frozen=True)
class Source:
    """A simulator, and measured data where there are any."""

    simulate: Callable[[int, int], Dataset] | None = None
    """``(n, seed)``; of a system with measured data, a stand-in for them."""
    references: tuple[str, ...] = ()
    """Latents and covariates that data files may carry."""
    splits: Callable[..., Splits] | None = None
    """Measured data, looked for in a folder."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Of measured data: pattern and content."""
    public: str = ""
    """Where measured data come from publicly."""
    classes: Mapping[int, str] = field(default_factory=dict)
    """Of measured data, one is chosen."""
    readers: Mapping[str, Callable[[Path], Dataset]] = field(default_factory=dict)
    """Of data files of its own kinds, by suffix."""
    measure: Callable[[Dataset], Measured] = measure_any
    """What is measured of observations without a fitted model, (observation,) by name; under the
    name of a latent, that latent."""
