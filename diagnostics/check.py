"""The Check: one diagnostic with its number, its verdict, its figure and all of its words.

Whoever writes a check derives from ``Check`` and says how the number is computed, what is good,
and what to draw; ``@registered`` puts it into every report. An installed package offers one by an
entry point of the group ``groundvae.checks``; ``diagnose(..., checks=[...])`` takes objects.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.data.errors import InputError
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import headline, house_style, subplots
from groundvae.diagnostics.verdict import Criterion, Verdict
from groundvae.models.registry import Registry


class LeftOutError(Exception):
    """A check does not apply; the message says why. Without one, no note of it is due."""


@dataclass(frozen=True)
class Condition:
    """What a check needs, and why it is left out without; an extra has no reason."""

    holds: Callable[[Context], bool]
    reason: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure not yet on disk, with what it shows in words and how to read it."""

    name: str
    figure: Figure
    alternative: str
    caption: str


@dataclass
class Finding:
    """Verdicts, metrics by name, figures, and notes on what was left out."""

    verdicts: list[Verdict] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Check(Criterion, ABC):
    """One diagnostic of a run on one data set.

    Attributes:
        name: of the check and of its figure's file.
        title: what a reader of the report calls it.
        alternative: what the figure shows, for those who cannot see it.
        caption: how to read the figure.
        needs: conditions without which the check is left out.
        always: whether the figure is drawn without a verdict as well.
        size: of the figure, inches.
        columns: panels beside each other.
        metric_words: what each metric means; ``{latent}`` stands for every physics latent's
            name, ``{unit}`` for its unit, or that of the data.

    Thresholds and sentences are those of the ``Criterion``.

    """

    name: str
    title: str
    alternative: str = ""
    caption: str = ""
    needs: Sequence[Condition] = ()
    always: bool = False
    size: tuple[float, float] = (5.2, 3.2)
    columns: int = 1
    metric_words: Mapping[str, str] = {}

    @abstractmethod
    def compute(self, context: Context) -> xr.Dataset:
        """The numbers behind verdict, figure and metrics.

        Raises:
            LeftOutError: the check does not apply.

        """

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        """Draw into the axes (row, column); what is found, which becomes the figure's title.

        A check that does not say how has no figure.
        """
        raise NotImplementedError

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        """Empty axes (row, column) of one figure."""
        return subplots(1, self.columns, self.size)

    @house_style()
    def plot(self, result: xr.Dataset) -> Figure:
        """The figure, with the finding as its title."""
        grid = self.canvas(result)
        finding = self.draw(result, grid)
        if grid.size == 1:
            grid[0, 0].set_title(finding)
        else:
            headline(grid[0, 0].figure, finding)
        figure: Figure = grid[0, 0].figure
        return figure

    @classmethod
    def drawn(cls) -> bool:
        """Whether the check has a figure."""
        return cls.draw is not Check.draw or cls.plot is not Check.plot

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        """What goes into ``metrics.json``.

        Each metric is the attribute of its name, for each latent the variable of its name; or
        else the value that is judged.
        """
        found: dict[str, float] = {}
        for pattern in self.metric_words:
            key = pattern.removeprefix("{latent}_")
            if key in result.data_vars and key != pattern:
                found |= by_latent(result[key], key)
            elif key == pattern or "latent" in result.attrs:
                value = result.attrs[key] if key in result.attrs else self.value(result)
                found[pattern.format(latent=result.attrs.get("latent"))] = float(value)
        return found

    def __call__(self, context: Context) -> Finding:
        """All that the check finds.

        Raises:
            LeftOutError: the check does not apply.

        """
        for condition in self.needs:
            if not condition.holds(context):
                raise LeftOutError(condition.reason)
        finding = Finding()
        for result in self.results(context):
            self._report(result, finding)
        return finding

    def results(self, context: Context) -> Iterator[xr.Dataset]:
        """One result for each figure; its attribute ``latent``, if any, goes into the names."""
        yield self.compute(context)

    def _report(self, result: xr.Dataset, finding: Finding) -> None:
        verdicts = [replace(v, check=self.name) for v in self.verdicts(result)]
        finding.verdicts += verdicts
        finding.metrics |= self.metrics(result)
        judged = any(v.level != "not enough data" for v in verdicts)
        if self.drawn() and (self.always or judged):
            latent = result.attrs.get("latent")
            name = f"{self.name}_{latent}" if latent else self.name
            words = (text.format(latent=latent) for text in (self.alternative, self.caption))
            finding.drawings.append(Drawing(name, self.plot(result), *words))


DRAWS = 25
"""Predictive draws below which importance weights have no tail to fit."""

CHECKS: Registry[type[Check]] = Registry("check", "groundvae.checks")
"""Every check that a report holds."""

C = TypeVar("C", bound=Check)


def registered(check: type[C]) -> type[C]:
    """A decorator that puts a check into every report from now on.

    Raises:
        InputError: its words are incomplete, or its name is taken.

    """
    validate(check)
    CHECKS.register(check.name)(check)
    return check


def validate(check: Check | type[Check]) -> None:
    """See that a check has all of its words.

    Raises:
        InputError: one is missing, or the name is none for a file.

    """
    kind = check if isinstance(check, type) else type(check)
    words = ["name", "title", "subject"]
    words += ["alternative", "caption"] if kind.drawn() else []
    missing = [word for word in words if not getattr(check, word, "")]
    if missing:
        raise InputError(f"the check {kind.__name__} has no {missing[0]}, expected a text")
    if not re.fullmatch(r"[\w-]+", check.name):
        raise InputError(
            f"the check {kind.__name__} is named {check.name!r}, expected letters, digits, _ and -"
        )


def by_latent(values: xr.DataArray, what: str) -> dict[str, float]:
    """One metric for each latent: the median over observations, if it has that axis.

    >>> by_latent(xr.DataArray([0.5], {"latent": ["omega"]}, dims="latent"), "kl")
    {'omega_kl': 0.5}
    """
    middle = values.median("observation") if "observation" in values.dims else values
    return {f"{name}_{what}": float(middle.sel(latent=name)) for name in values["latent"].values}


def group(name: str) -> Condition:
    """The posterior holds a group."""
    return Condition(lambda c: name in c.inference_data, f"the posterior has no {name}")


def _enough_draws(context: Context) -> bool:
    return bool(context.inference_data["log_likelihood"].sizes["draw"] >= DRAWS)


def _same_shape(context: Context) -> bool:
    predicted = context.inference_data["posterior_predictive"]["x"].shape[2:]
    return bool(predicted == context.x.shape)


def _scored(context: Context) -> bool:
    data = context.inference_data
    return "constant_data" in data and "out_of_distribution" in data["constant_data"]


PREDICTIVE = group("posterior_predictive")
LIKELIHOOD = group("log_likelihood")
PRIOR_PREDICTIVE = group("prior_predictive")
WEIGHTED = Condition(
    lambda c: c.weighted, "the draws carry no importance weights of the model's own density"
)
ENOUGH_DRAWS = Condition(_enough_draws, f"fewer than {DRAWS} predictive draws")
SAME_SHAPE = Condition(_same_shape, "predictions and data have different shapes")
SCORED = Condition(_scored, "the run keeps no scores of its validation data; fit it again")
LATENTS = Condition(lambda c: bool(c.draws), "the model has no latents")
PHYSICS_LATENTS = Condition(lambda c: bool(len(c.latents)), "the model has no physics latents")
GROUNDED = Condition(lambda c: c.grounded, "the model has no physics to be told from a residual")
RESIDUAL = Condition(lambda c: c.residual, "the model is physics alone, it has no residual")
INVARIANT = Condition(lambda c: c.invariant is not None)
REFERENCE = Condition(lambda c: c.reference is not None)
