"""Groups of labelled arrays under ArviZ 1.x, which takes any such ``InferenceData`` for a tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr


class InferenceData(Mapping[str, xr.Dataset]):
    """Datasets by name, as ArviZ had them before 1.0; its functions take it as it is.

    ``attrs``: of the whole, by name; ``warn_on_custom_groups`` is taken as ArviZ took it: there is
    nothing to warn of.

    >>> found = InferenceData(posterior=xr.Dataset({"a": ("draw", [1.0, 2.0])}))
    >>> found.groups(), float(found["posterior"]["a"].mean())
    (['posterior'], 1.5)
    """

    def __init__(
        self,
        *,
        attrs: Any = None,
        warn_on_custom_groups: Any = False,
        **groups: xr.Dataset,
    ) -> None:
        self._groups = {k: v for k, v in groups.items() if v is not None}
        self.attrs: dict[str, Any] = dict(attrs or {})

    def __getitem__(self, name: str) -> xr.Dataset:
        """The Dataset of one group."""
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __getattr__(self, name: str) -> xr.Dataset:
        groups = self.__dict__.get("_groups", {})
        if name not in groups:
            raise AttributeError(f"no group {name!r}, there are: {', '.join(groups)}")
        found: xr.Dataset = groups[name]
        return found

    def __delattr__(self, name: str) -> None:
        if self._groups.pop(name, None) is None:
            super().__delattr__(name)

    def __repr__(self) -> str:
        return f"InferenceData of {', '.join(self)}"

    def groups(self) -> list[str]:
        """Names of all groups."""
        return list(self._groups)

    def add_groups(
        self, groups: Mapping[str, xr.Dataset], *, warn_on_custom_groups: bool = False
    ) -> None:
        """Add groups, or replace those of their names, in place."""
        self._groups |= groups

    def assign_coords(self, **coords: Any) -> InferenceData:
        """The same groups, those that have such dimensions with other coordinates (size,)."""
        found = {
            name: group.assign_coords({k: v for k, v in coords.items() if k in group.dims})
            for name, group in self._groups.items()
        }
        return InferenceData(attrs=self.attrs, **found)

    def load(self) -> InferenceData:
        """Read all values; returns itself."""
        for group in self._groups.values():
            group.load()
        return self

    def to_datatree(self) -> xr.DataTree:
        """The groups as xarray's tree, whose nodes they are."""
        tree = xr.DataTree.from_dict(dict(self._groups))
        tree.attrs.update(self.attrs)
        return tree

    def to_netcdf(self, path: Path | str, **options: Any) -> None:
        """Write NetCDF, one group each; ``options`` of xarray's."""
        self.to_datatree().to_netcdf(path, **options)
