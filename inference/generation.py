"""Generation: observations that a fitted model makes up, with some latents at chosen values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyro
import torch
import xarray as xr
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.simulation import hyperparameters
from groundvae.inference import arviz as az
from groundvae.inference.bad import prior_latents
from groundvae.inference.inferencedata import drawn_inference_data
from groundvae.inference.population import Places, Population, draws_of, log_ratio
from groundvae.inference.run import Run
from groundvae.models.circle import difference, mean_direction
from groundvae.models.greybox import AUXILIARY, OBSERVATION
from groundvae.models.latent import Latent, describe_support
from groundvae.physics.errors import tolerant

TOGETHER = 500  # decoded at once
BEYOND = {"population": 2.0, "prior": 20.0}
"""Times the largest value that was observed, beyond which a path has run away, by origin."""
TRIES = 20  # at draws whose paths are finite
DRAWS = 60  # of a posterior, for its middle

Origin = Literal["population", "prior"]
Latents = dict[str, Tensor]


@dataclass(frozen=True)
class Generator:
    """What a run generates from: where latents come from, and at which times and inputs.

    ``draw`` gives latents for some of the ``n`` observations, by their positions (some,).
    """

    run: Run
    template: Batch
    reach: float  # the largest value that is no runaway's
    draw: Callable[[Tensor], Latents]

    def decode(self, latents: Latents, rows: Tensor) -> Tensor:
        """Noiseless observations (some, *event) of latents (some, ...)."""
        auxiliary = latents.get(AUXILIARY)
        physics = {k: v for k, v in latents.items() if k != AUXILIARY}
        like = self.template[rows]
        with tolerant():
            full = self.run.model.decode(physics, auxiliary, like.inputs, reduced=False).full
        return full.expand(len(rows), *like.x.shape[1:])

    def make(self, rows: Tensor) -> tuple[Latents, Tensor]:
        """Latents, and what they look like without noise; paths that run away are drawn anew."""
        latents = self.draw(rows)
        clean = self.decode(latents, rows)
        for _ in range(TRIES):
            size = clean.abs().nan_to_num(nan=torch.inf).flatten(1).amax(1)
            lost = (size > self.reach) | size.isinf()
            if not bool(lost.any()):
                return latents, clean
            again = self.draw(rows[lost])
            clean[lost] = self.decode(again, rows[lost])
            for name, value in again.items():
                latents[name][lost] = value
        raise InputError(
            f"{int(lost.sum())} of {len(rows)} observations have no finite path at such latents, "
            "expected others, or --from population"
        )


def generate(
    run: Run,
    n: int,
    *,
    seed: int = 0,
    origin: Origin = "population",
    chosen: Mapping[str, float | np.ndarray] | None = None,
    like: Dataset | None = None,
) -> az.InferenceData:
    """Observations that a fitted model makes up.

    Args:
        run: the fitted model.
        n: how many.
        seed: of all draws.
        origin: what latents are drawn from: the ``population`` that the fit learned, or the
            ``prior``. Those that are not chosen come from their conditional given the others.
        chosen: values of physics latents, one for all or (n,).
        like: in place of a draw, the latents of this observation (their posterior means in
            unbounded coordinates), or, of two, those on the way from the first to the second.

    Returns:
        ``prior``: latents (chain, draw, ...) by name; ``prior_predictive`` and ``noiseless``: the
        observations ``x`` (chain, draw, *event) with noise and without; times and inputs that are
        each one's own in ``constant_data``. The attribute ``origin`` says what was drawn from.

    Raises:
        InputError: no such physics latent, a value that its prior rules out, no population, more
            than two observations to be like, or no finite path.

    """
    if n < 1 or (like is not None and len(like) > 2):
        raise InputError("expected 1 or more to generate, like one observation or between two")
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        fixed = {k: _values(run, k, v, n) for k, v in (chosen or {}).items()}
        template, reach = _template(run, n)
        draw = _drawing(run, origin, fixed) if like is None else _alike(run, like, fixed, n)
        generator = Generator(run, template, BEYOND[origin] * reach, draw)
        parts = [generator.make(rows) for rows in torch.arange(n).split(TOGETHER)]
        latents = {name: torch.cat([part[0][name] for part in parts]) for name in parts[0][0]}
        clean = torch.cat([part[1] for part in parts])
        noisy = run.model.noise.sample(clean, times=template.inputs.get("t"))
    groups = {
        "prior": latents,
        "prior_predictive": {OBSERVATION: noisy},
        "noiseless": {OBSERVATION: clean},
    }
    origin_told = origin if like is None else "observation"
    return drawn_inference_data(run, groups, template, origin=origin_told)


def _template(run: Run, n: int) -> tuple[Batch, float]:
    """Times and inputs of ``n`` observations as the run knows them, and its largest value."""
    known = run.population
    if known is None:
        if run.entry.source.simulate is None:
            raise InputError(
                f"the run knows no times to generate at, expected a {run.entry.name} "
                "fitted with this version"
            )
        one = run.batch(run.entry.source.simulate(1, 0))
        return one.with_x(one.x.new_zeros(n, *one.x.shape[1:])), torch.inf
    like = run.model.noise.log_scale
    inputs = {k: v.to(like) if v.is_floating_point() else v for k, v in known.inputs.items()}
    count = next((len(inputs[k]) for k in known.own), 1)
    x = like.new_zeros(count, *known.event)
    batch = Batch(x, inputs, own=known.own)
    return batch[torch.randint(count, (n,))].with_x(x.new_zeros(n, *known.event)), known.reach


def population_of(run: Run) -> Population:
    """What the run learned of its population.

    Raises:
        InputError: nothing.

    """
    if run.population is None:
        raise InputError(
            "the run holds no population (too few observations, or an older fit), "
            "expected a run fitted again, or --from prior"
        )
    return run.population


def population_ratio(run: Run, posterior: xr.Dataset) -> np.ndarray:
    """Log population density over prior density of a posterior's draws, (draw, observation)."""
    known = population_of(run)
    names = [name for name in run.model.latent_names if name in posterior]
    drawn = {k: torch.as_tensor(np.concatenate(posterior[k].values)) for k in names}
    return log_ratio(run, known, drawn).numpy()


def _drawing(run: Run, origin: Origin, fixed: Latents) -> Callable[[Tensor], Latents]:
    """Draws from the population or the prior given what is ``fixed`` (n,)."""
    if origin == "prior":

        def from_prior(rows: Tensor) -> Latents:
            hyper = {k: v.unsqueeze(0) for k, v in hyperparameters(run.model, len(rows)).items()}
            drawn = prior_latents(run.model, len(rows), 1, hyper)
            return {k: v[0] for k, v in drawn.items()} | {k: v[rows] for k, v in fixed.items()}

        return from_prior
    known_of = population_of(run)
    mixture, places = known_of.mixture, Places(run, known_of.free)
    known = {known_of.physics.index(k): places.score(k, v.double()) for k, v in fixed.items()}

    def from_population(rows: Tensor) -> Latents:
        points = mixture.given({i: v[rows] for i, v in known.items()}, len(rows))
        rest = torch.randn(len(rows), run.model.auxiliary, dtype=run.model.noise.log_scale.dtype)
        return places.latents(points, rest) | {k: v[rows] for k, v in fixed.items()}

    return from_population


def _alike(run: Run, data: Dataset, fixed: Latents, n: int) -> Callable[[Tensor], Latents]:
    """The latents of one observation, or those between two, with some ``fixed`` (n,)."""
    places = Places(run, ())
    points, auxiliary = middles(run, places, data)
    if len(points) != len(data):
        raise InputError("an observation to be like has no finite posterior, expected another")
    share = torch.linspace(0, 1, n, dtype=points.dtype).unsqueeze(-1)
    way = points[-1] - points[0]
    for i, period in enumerate(places.periods.tolist()):
        if math.isfinite(period):
            way[i] = difference(points[-1, i], points[0, i], period)
    between = points[0] + share * way
    rest = auxiliary[0] + share.to(auxiliary) * (auxiliary[-1] - auxiliary[0])
    latents = places.latents(between, rest) | fixed
    return lambda rows: {k: v[rows].clone() for k, v in latents.items()}


def middles(run: Run, places: Places, data: Dataset) -> tuple[Tensor, Tensor]:
    """Posterior means of ``data``: points (observation, place) and ``z_aux`` (observation, ...)."""
    points, auxiliary = [], []
    for drawn, _ in draws_of(run, run.batch(data.declare(run.model.system.inputs)), DRAWS):
        each = places.points(drawn)
        columns = [
            mean_direction(at, period) if math.isfinite(period) else at.mean(0)
            for at, period in zip(each.unbind(-1), places.periods.tolist(), strict=True)
        ]
        points.append(torch.stack(columns, -1))
        empty = each.new_zeros(each.shape[1], 0).to(run.model.noise.log_scale)
        auxiliary.append(drawn[AUXILIARY].mean(0) if AUXILIARY in drawn else empty)
    return torch.cat(points), torch.cat(auxiliary)


def _values(run: Run, name: str, values: float | np.ndarray, n: int) -> Tensor:
    """Values (n,) of a physics latent, as its prior allows."""
    known: dict[str, Latent] = {z.name: z for z in run.model.latents}
    if name not in known:
        names = ", ".join(known) or "none"
        raise InputError(f"no physics latent {name!r} to set, known: {names}")
    like = run.model.noise.log_scale.detach()
    wrapped = known[name].wrapped(torch.as_tensor(np.asarray(values, dtype=float)).to(like))
    support = known[name].prior.support
    if support is None or not bool(support.check(wrapped).all()):
        allowed = describe_support(support)
        wrong = wrapped if support is None else wrapped[~support.check(wrapped)]
        raise InputError(
            f"{name} is set to {float(wrong.flatten()[0]):g}, expected {allowed} (its prior)"
        )
    return wrapped.expand(n)


def as_dataset(generated: az.InferenceData, run: Run, *, noise: bool = True) -> Dataset:
    """What was generated as a data file holds it: ``x`` (observation, *event), physics latents."""
    group = generated["prior_predictive" if noise else "noiseless"]
    x = np.asarray(group[OBSERVATION].values[0])
    latents = {k: generated["prior"][k].values[0] for k in run.model.latents.names}
    system = run.model.system
    coordinates = {
        name: np.asarray(group[axis].values)
        for name, axis in system.coordinates.items()
        if axis in group.coords
    }
    constant = dict(generated["constant_data"]) if "constant_data" in generated else {}
    own = {str(k): np.asarray(v.values) for k, v in constant.items()}
    if "t" in own:
        coordinates["t"] = own.pop("t")
    names = frozenset(k for k in own if "draw" in constant[k].dims)
    return Dataset(x, coordinates, latents, own, names)
