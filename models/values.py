"""Values by name, read as attributes: ``z.omega``, ``state.velocity``, ``inputs.drive``."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from groundvae.data.errors import InputError


class UnknownNameError(InputError, AttributeError):
    """A name that does not exist, read by a law or a residual."""


class Values(Mapping[str, Tensor]):
    """Tensors by name; a name that does not exist is refused with those that do.

    >>> import torch
    >>> Values({"omega": torch.tensor(2.0)}, "latent").omega
    tensor(2.)
    >>> Values({"omega": torch.tensor(2.0)}, "latent").omga
    Traceback (most recent call last):
    groundvae.models.values.UnknownNameError: there is no latent 'omga', known: omega
    """

    __slots__ = ("_values", "_what")

    def __init__(self, values: Mapping[str, Tensor], what: str) -> None:
        self._values, self._what = dict(values), what

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Tensor:
        found = self._values.get(name)
        if found is None:
            known = ", ".join(self._values) or "none"
            raise UnknownNameError(f"there is no {self._what} {name!r}, known: {known}")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def items(self) -> ItemsView[str, Tensor]:
        return self._values.items()

    def __len__(self) -> int:
        return len(self._values)

    def with_axes(self, count: int) -> Values:
        """Each with ``count`` axes of length one behind its own."""
        index = (..., *[None] * count)
        return Values({k: v[index] for k, v in self._values.items()}, self._what)

    def replaced(self, values: Mapping[str, Tensor]) -> Values:
        """The same with some values in the place of others, or beside them."""
        return Values({**self._values, **values}, self._what)


def broadcast(*shapes: torch.Size) -> torch.Size:
    """What shapes broadcast to; at its first call torch's own loads an algebra of symbols.

    >>> broadcast(torch.Size([3, 1]), torch.Size([2]))
    torch.Size([3, 2])
    """
    return torch.Size(np.broadcast_shapes(*shapes))
