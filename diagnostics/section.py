"""The Section: one diagnostic as the report shows it, whatever it diagnoses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.context import Context
from groundvae.diagnostics.finding import Drawing, Finding
from groundvae.diagnostics.verdict import Verdict

Compute = Callable[[Context], xr.Dataset]
Check = Callable[[xr.Dataset], Verdict | list[Verdict]]
Plot = Callable[[xr.Dataset], Figure]
Metrics = Callable[[xr.Dataset], dict[str, float]]
Condition = Callable[[Context], None]
"""Raises LeftOutError where a section does not apply."""


@dataclass(frozen=True)
class Section:
    """The three functions of a diagnostic, and what stands beside its figure.

    ``name`` is the figure's; ``alternative`` says what it shows, ``caption`` how to read it. The
    figure is drawn where the check could give a verdict, or ``always``.
    """

    name: str
    compute: Compute
    check: Check
    plot: Plot
    metrics: Metrics
    alternative: str
    caption: str
    needs: Sequence[Condition] = ()
    always: bool = False

    def __call__(self, context: Context) -> Finding:
        for condition in self.needs:
            condition(context)
        result = self.compute(context)
        checked = self.check(result)
        verdicts = [checked] if isinstance(checked, Verdict) else checked
        finding = Finding(verdicts, self.metrics(result))
        if self.always or any(v.level != "not enough data" for v in verdicts):
            drawing = Drawing(self.name, self.plot(result), self.alternative, self.caption)
            finding.drawings.append(drawing)
        return finding


def attributes(**keys: str) -> Metrics:
    """Metrics that are attributes of a result: metric name to attribute.

    >>> attributes(tarp_deviation="deviation")(xr.Dataset(attrs={"deviation": 0.25}))
    {'tarp_deviation': 0.25}
    """
    return lambda result: {metric: float(result.attrs[key]) for metric, key in keys.items()}


def by_latent(values: xr.DataArray, what: str) -> dict[str, float]:
    """One metric for each latent: the median over observations, if it has that axis.

    >>> by_latent(xr.DataArray([0.5], {"latent": ["omega"]}, dims="latent"), "kl")
    {'omega_kl': 0.5}
    """
    middle = values.median("observation") if "observation" in values.dims else values
    return {f"{name}_{what}": float(middle.sel(latent=name)) for name in values["latent"].values}
