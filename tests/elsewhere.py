"""A device that is none: tensors that say they are on it, compute here, and mix with no others.

Finds what a computation on a graphics card would stumble over, on a machine that has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")


class Elsewhere(torch.Tensor):
    """A tensor on the device; what it holds stands in the memory here."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"elsewhere {self.here}"

    def tolist(self) -> Any:
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return computed(function, args, kwargs or {})


class FromValues(TorchFunctionMode):
    """Tensors of numbers, which torch makes past all dispatch."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        asked = kwargs.get("device")
        if function in (torch.tensor, torch.as_tensor) and asked is not None:
            made = function(*args, **{**kwargs, "device": "cpu"})
            return made.to(asked)
        if function is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(DEVICE)
        return function(*args, **kwargs)


@contextmanager
def pretending() -> Iterator[None]:
    """While it lasts, there is the device."""
    with FromValues(), Operations():
        yield


class Operations(TorchDispatchMode):
    """All operations, those that make tensors too."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return computed(function, args, kwargs or {})


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [v for v in flat if isinstance(v, torch.Tensor)]
    name = function.overloadpacket.__name__
    asked = kwargs.get("device")
    away = any(isinstance(v, Elsewhere) for v in tensors)
    target = away if asked is None else torch.device(asked).type == DEVICE.type
    moves = name in ("_to_copy", "copy_", "_copy_from", "lift_fresh")
    if away and not moves:
        wrong = [v for v in tensors if not isinstance(v, Elsewhere) and v.dim() > 0]
        index = name in ("index", "index_put_", "_index_put_impl_", "index_put")
        if index and not isinstance(args[0], Elsewhere):
            raise RuntimeError(f"{name}: indices elsewhere of a tensor here")
        if wrong and not index:
            raise RuntimeError(
                f"{name}: tensors on two devices, of shapes {[v.shape for v in tensors]}"
            )
    inner = tree_map(lambda v: v.here if isinstance(v, Elsewhere) else v, (args, kwargs))
    if "device" in kwargs:
        inner[1]["device"] = torch.device("cpu")
    found = function(*inner[0], **inner[1])
    if name.endswith("_") and not name.startswith("_") and isinstance(args[0], torch.Tensor):
        return args[0]
    if not target:
        return found
    return tree_map(lambda v: Elsewhere(v) if isinstance(v, torch.Tensor) else v, found)
