"""The Batch: what one Pyro program and one guide see of a Dataset, as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from groundvae.data.dataset import Dataset


@dataclass(frozen=True)
class Batch:
    """Observations ``x`` (observation, *event), missing samples set to 0 and masked out.

    ``observed`` (observation, *event) is False where a sample is missing; None: all are there.
    ``inputs`` are shared by all observations (``t``: (time,), s).
    """

    x: Tensor
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    observed: Tensor | None = None

    @staticmethod
    def of(data: Dataset, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Batch:
        """The whole Dataset as one Batch."""
        x = torch.tensor(data.x, dtype=dtype, device=device)
        inputs = {
            name: torch.as_tensor(value, dtype=dtype, device=device)
            for name, value in data.coordinates.items()
        }
        missing = torch.isnan(x)
        if not missing.any():
            return Batch(x, inputs)
        return Batch(x.masked_fill(missing, 0.0), inputs, ~missing)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> Batch:
        observed = None if self.observed is None else self.observed[index]
        return replace(self, x=self.x[index], observed=observed)

    def with_x(self, x: Tensor) -> Batch:
        """The same inputs with other, complete observations (simulations, unmixed series)."""
        return Batch(x, self.inputs)
