"""What an unknown residual turned out to be: terms that survived, their sum, a push's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr

from groundvae.data.errors import InputError
from groundvae.guides.follow import Part, parts_of
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import WEIGHTS
from groundvae.inference.reaching import reaching
from groundvae.inference.run import Run
from groundvae.models.greybox import AUXILIARY
from groundvae.models.residuals.spectrum import STRETCH
from groundvae.models.residuals.unknown import Unknown
from groundvae.models.values import Values

POINTS = 81  # of a function of a state
TINY = 0.01  # of the scale, a mean that is none
SAID = 5  # terms told in words
COLUMNS = ["acts_on", "feature", "mean", "scale", "imitated", "alive"]
ALIVE = 0.01  # of the largest effect on a rate, below which a term counts as absent


@dataclass(frozen=True)
class Discovery:
    """What one unknown residual found, in the population.

    Attributes:
        terms: a row for each state that is acted on and each feature of the states: its ``mean``
            and ``scale`` in the units of the rate (the feature at its usual size), ``imitated``:
            the share of what it does that the physics could do, and whether it is ``alive``.
        functions: of each state acted on and each state seen, the others at zero and in the middle
            of the data: rows of its ``value`` (in its units, to twice its usual size), and
            ``mean`` and ``scale`` over the population of what it adds to the rate. None of fields.
        spectrum: a row for each state acted on and each frequency (per unit of time): the standard
            deviation ``amplitude`` of a cosine's weight, in the units of the rate.
        own_spread: standard deviation of the log of how much stronger one observation's push is
            than another's.
        time_unit: of the system's times.

    """

    terms: pd.DataFrame
    functions: pd.DataFrame
    spectrum: pd.DataFrame
    own_spread: float
    time_unit: str = "s"

    @property
    def frequency_unit(self) -> str:
        """That of ``spectrum``."""
        return "Hz" if self.time_unit == "s" else f"1/{self.time_unit}"

    def alive(self) -> pd.DataFrame:
        """The terms that survived, the largest first."""
        some = self.terms[self.terms["alive"]]
        return some.loc[np.hypot(some["mean"], some["scale"]).sort_values()[::-1].index]

    @property
    def pushes(self) -> pd.DataFrame:
        """Those parts of the spectrum that are a push: of states that one acts on."""
        parts = [p for n, p in self.spectrum.groupby("acts_on") if self._pushed(str(n), p)]
        return pd.concat(parts) if parts else self.spectrum.iloc[:0]

    def _pushed(self, name: str, part: pd.DataFrame) -> bool:
        """Whether the spectrum of a state is of a size beside its functions of the states."""
        some = self.terms[self.terms["acts_on"] == name]
        largest = np.hypot(some["mean"], some["scale"]).max() if len(some) else 0.0
        return float((part["amplitude"] ** 2).sum()) > (ALIVE * largest) ** 2

    def _push(self, name: str, part: pd.DataFrame) -> str:
        """Where nine tenths of a push lie, if there is one."""
        if not self._pushed(name, part):
            return "no push"
        power = part["amplitude"].to_numpy() ** 2
        share = np.cumsum(power) / power.sum()
        low, high = (part["frequency"].to_numpy()[np.searchsorted(share, q)] for q in (0.05, 0.95))
        return f"a push, nine tenths of it from {low:.2g} to {high:.2g} {self.frequency_unit}"

    def _repr_html_(self) -> str:
        return self.terms.to_html(index=False, border=0, float_format="{:.3g}".format)

    def __str__(self) -> str:
        lines = [
            f"{name}: {self._push(str(name), part)}"
            for name, part in self.spectrum.groupby("acts_on")
        ]
        alive = self.alive()
        terms = [
            f"{row.acts_on}: {_amount(row.mean, row.scale)} times {row.feature}"
            for row in alive.head(SAID).itertuples()
        ]
        if len(alive) > SAID:
            most = float(np.hypot(*alive[["mean", "scale"]].iloc[SAID]))
            terms.append(f"{len(alive) - SAID} more, of {most:.2g} or less")
        return "\n".join([*lines, *(terms or ["no function of the states"])])


def _amount(mean: float, scale: float) -> str:
    """A weight over the population.

    >>> _amount(-0.4, 0.1), _amount(0.0, 0.1)
    ('-0.4 +- 0.1', '+-0.1 from one to another')
    """
    if abs(mean) > TINY * scale:
        return f"{mean:+.2g} +- {scale:.2g}"
    return f"+-{scale:.2g} from one to another"


def discovered(run: Run) -> Discovery:
    """What the run's unknown residual turned out to be.

    Raises:
        InputError: the run has no residual of unknown shape.

    """
    found = [r for r in run.model.terms if isinstance(r, Unknown)]
    if not found:
        raise InputError(f"{run.config.system} was fitted without an unknown residual")
    terms, functions, spectra = zip(*(_found(residual) for residual in found), strict=True)
    spread = float(found[0].own_spread.detach())
    unit = run.model.system.time_unit
    return Discovery(
        pd.concat(terms, ignore_index=True), pd.concat(functions), pd.concat(spectra), spread, unit
    )


def weights_of(run: Run, drawn: az.InferenceData) -> xr.DataArray:
    """Weights of the unknown's features of states, of every observation of a posterior.

    Axes (chain, draw, observation, term), of the draws that were decoded; terms are named
    ``STATE: FEATURE`` by what they act on, their units are those of ``Discovery.terms``.

    Raises:
        InputError: the run has no residual of unknown shape.

    """
    model = reaching(run, drawn.attrs.get("until")).model
    parts = [p for p in parts_of(model) if isinstance(p.residual, Unknown)]
    if not parts:
        raise InputError(f"{run.config.system} was fitted without an unknown residual")
    group = WEIGHTS if WEIGHTS in drawn and AUXILIARY in drawn[WEIGHTS] else "posterior"
    drawn_z = drawn[group][AUXILIARY]
    z = torch.as_tensor(drawn_z.values).to(parts[0].residual.own_spread)
    found = [_weights(part, z, len(model.latents)) for part in parts]
    values, names = zip(*found, strict=True)
    terms = [name for each in names for name in each]
    axes = ("chain", "draw", "observation")
    places = {k: v for k, v in drawn_z.coords.items() if k in axes}
    return xr.DataArray(
        torch.cat(values, -1).numpy(), places | {"term": terms}, (*axes, "term"), "weight"
    )


@torch.no_grad()
def _weights(part: Part, z: torch.Tensor, physics: int) -> tuple[torch.Tensor, list[str]]:
    """Weights (..., state * feature) of one residual, for ``z_aux`` (..., auxiliary)."""
    residual = part.residual
    assert isinstance(residual, Unknown)
    own = z[..., part.first - physics : part.first - physics + residual.auxiliary]
    weights = residual.weights(own)[..., residual.timed :].flatten(-2)
    return weights, [f"{acted}: {f}" for acted in residual.acts_on for f in residual.terms]


@torch.no_grad()
def _functions(residual: Unknown) -> pd.DataFrame:
    """The sum of all features along each state seen, (acts_on * state * value) rows."""
    assert residual.span is not None
    columns = ["acts_on", "state", "value", "mean", "scale"]
    if residual.on_grid:
        return pd.DataFrame(columns=columns)
    along = torch.linspace(-2.0, 2.0, POINTS).double()
    middle = torch.tensor(0.5 * residual.span / STRETCH).double()
    means, root = residual.mean.double(), residual.root.double()
    rows = []
    for place, name in enumerate(residual.sees):
        usual = residual.scale_of.double()
        at = {k: along * usual[i] * (i == place) for i, k in enumerate(residual.sees)}
        features = residual.of_states(middle, Values(at, "state"))  # (value, feature)
        for i, acted in enumerate(residual.acts_on):
            block = slice(i * features.shape[-1], (i + 1) * features.shape[-1])
            scale = (features @ root[block]).square().sum(-1).sqrt()
            told = {"value": at[name], "mean": features @ means[i], "scale": scale}
            numbers = {k: v.numpy() for k, v in told.items()}
            rows.append(pd.DataFrame({"acts_on": acted, "state": name, **numbers}))
    return pd.concat(rows) if rows else pd.DataFrame(columns=columns)


def _found(residual: Unknown) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    mean = residual.mean.detach().double().numpy()
    scale = np.exp(0.5 * residual.log_variance.detach().double().numpy())
    size = np.hypot(mean, scale)
    rows = [
        {
            "acts_on": name,
            "feature": feature,
            "mean": mean[i, j],
            "scale": scale[i, j],
            "imitated": float(residual.imitated[i, j]),
            "alive": bool(size[i, j] > ALIVE * max(size.max(), 1e-300)),
        }
        for i, name in enumerate(residual.acts_on)
        for j, feature in enumerate(residual.terms)
    ]
    power = residual.power.detach().double()
    spectra = [
        residual.waves.table(power[i]).assign(acts_on=name)
        for i, name in enumerate(residual.acts_on)
    ]
    terms = pd.DataFrame(rows, columns=COLUMNS).astype({"alive": bool})
    return terms, _functions(residual), pd.concat(spectra)
