"""Physics latents: what they mean, their priors, and the one bijector onto their support."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.constraints import Constraint

from groundvae.data.errors import InputError
from groundvae.models.circle import cut_open, difference
from groundvae.models.hierarchy import Hierarchical
from groundvae.models.precision import like

RESERVED = ("x", "z_aux")  # sites of the Pyro program
DIMENSIONS = ("chain", "draw", "observation", "time", "z_aux_dim")  # of what is stored


@dataclass(frozen=True)
class Latent:
    """One scalar latent of each observation, or of all, with an interpretable prior.

    Declared as an attribute of a system, from which it takes its name. ``support`` says which
    values make sense to the physics (a torch constraint; default: those of the prior); a prior
    that leaves it is refused. ``period`` is set for angles that wrap: where their prior spans it,
    they live on a circle, and it makes no difference where that is cut open. One that is ``shared``
    has the same value in all observations, and is inferred from all of them.
    """

    prior: TorchDistribution
    unit: str = ""
    meaning: str = ""
    support: Constraint | None = None
    period: float | None = None
    shared: bool = False
    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.name:
            object.__setattr__(self, "name", name)

    def check(self) -> None:
        """Refuse a prior that is no scalar's, or that leaves the support.

        Raises:
            InputError: naming the latent, its prior and what was expected.

        """
        if self.prior.batch_shape + self.prior.event_shape != torch.Size():
            shape = tuple(self.prior.batch_shape + self.prior.event_shape)
            raise InputError(f"prior of {self.name} has shape {shape}, expected a scalar")
        if self.support is not None and not _within(self.prior, self.support):
            raise InputError(
                f"prior of {self.name} is {type(self.prior).__name__} on "
                f"{describe_support(self.prior.support)}, expected support within "
                f"{describe_support(self.support)} ({self.meaning})"
            )

    @property
    def lower(self) -> float:
        """Where the prior's support begins; minus infinity where it does not."""
        return float(getattr(self.prior.support, "lower_bound", -math.inf))

    @property
    def circular(self) -> bool:
        """Whether this is an angle whose prior spans the whole circle."""
        upper = float(getattr(self.prior.support, "upper_bound", math.inf))
        return self.period is not None and math.isclose(
            upper - self.lower, self.period, rel_tol=1e-5
        )

    def wrapped(self, values: Tensor) -> Tensor:
        """Angles (...) less the whole periods beyond the circle; other values as they are."""
        if self.period is None or not self.circular:
            return values
        within = self.lower + torch.remainder(values - self.lower, self.period)
        return _inside(within, self.prior.support)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """``a - b`` (...), and for a circular latent the short way round."""
        if self.period is None or not self.circular:
            return a - b
        return difference(a, b, self.period)

    def prior_like(
        self, values: Tensor, hyper: Mapping[str, Tensor] | None = None
    ) -> TorchDistribution:
        """The prior in the precision and on the device of ``values`` (...), given ``hyper``."""
        prior = self.prior
        if isinstance(prior, Hierarchical):
            prior = prior.given(hyper or {})
        if values.dtype == torch.float32 and values.device.type == "cpu":
            return prior
        return like(prior, values)


@dataclass(frozen=True)
class LatentSpec:
    """The physics latents of one model, and their map to and from unconstrained space."""

    latents: tuple[Latent, ...] = ()

    def __post_init__(self) -> None:
        for latent in self.latents:
            latent.check()
        taken = sorted(set(self.hyper) & {*self.names, *RESERVED, *DIMENSIONS})
        if taken:
            raise InputError(
                f"a hyperparameter is named {taken[0]!r}, as a latent or a dimension is, expected "
                "another name"
            )

    @property
    def hyper(self) -> dict[str, TorchDistribution]:
        """Priors of the hyperparameters of hierarchical priors, by name."""
        priors = [z.prior for z in self.latents if isinstance(z.prior, Hierarchical)]
        return {name: prior for each in priors for name, prior in each.hyper.items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(latent.name for latent in self.latents)

    def __len__(self) -> int:
        return len(self.latents)

    def __iter__(self) -> Iterator[Latent]:
        return iter(self.latents)

    def with_priors(self, priors: Mapping[str, TorchDistribution]) -> LatentSpec:
        """The same latents with some priors swapped by name."""
        unknown = sorted(set(priors) - set(self.names))
        if unknown:
            known = ", ".join(self.names) or "none"
            raise InputError(f"no physics latent {unknown[0]!r} to give a prior, known: {known}")
        return LatentSpec(
            tuple(replace(z, prior=priors.get(z.name, z.prior)) for z in self.latents)
        )

    def refuse_senseless(self, name: str, values: Tensor) -> None:
        """Refuse values of a latent that make no sense to the physics, as interventions may give.

        Raises:
            InputError: naming one.

        """
        latent = next((z for z in self.latents if z.name == name), None)
        if latent is None or latent.support is None or latent.circular:
            return
        wrong = values[~latent.support.check(values)]
        if len(wrong):
            raise InputError(
                f"the intervention brings {name} to {float(wrong[0]):.4g}, expected "
                f"{describe_support(latent.support)} ({latent.meaning})"
            )

    def wrapped(self, name: str, values: Tensor) -> Tensor:
        """Values of one latent, on its circle if it has one; of another site, as they are."""
        latent = next((z for z in self.latents if z.name == name), None)
        return values if latent is None else latent.wrapped(values)

    def constrain(self, unconstrained: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Map (..., latent) to named values on the supports, and log |d value / d u|.

        The log-determinant has the shape (..., latent). A circular latent is its own
        unconstrained value, up to whole periods: distributions over it have to live on the
        circle, as those of ``CircularFamily`` do.
        """
        values, logdets = {}, []
        for latent, u in zip(self.latents, unconstrained.unbind(-1), strict=True):
            support = latent.prior.support
            if latent.circular:
                values[latent.name] = latent.wrapped(u)
                logdets.append(torch.zeros_like(u))
                continue
            bijector = biject_to(support)
            value = _inside(bijector(u), support)
            values[latent.name] = value
            logdets.append(bijector.log_abs_det_jacobian(u, value))
        empty = unconstrained.new_zeros(unconstrained.shape)
        return values, torch.stack(logdets, -1) if logdets else empty

    def lifted(self, draws: Tensor) -> Tensor:
        """Draws (draw, ..., latent), unconstrained, each circle cut opposite to their direction."""
        columns = []
        for i, latent in enumerate(self.latents):
            values = draws[..., i]
            if latent.period is not None and latent.circular:
                values = cut_open(values, latent.period)
            columns.append(values)
        return torch.stack([*columns, *draws[..., len(self) :].unbind(-1)], -1)

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The inverse of ``constrain``: named values to (..., latent)."""
        return torch.stack(
            [
                values[z.name] if z.circular else biject_to(z.prior.support).inv(values[z.name])
                for z in self.latents
            ],
            -1,
        )


def _inside(value: Tensor, support: Constraint | None) -> Tensor:
    """Undo the rounding that can push a value of a bijector onto an open bound.

    In float32 ``sigmoid(20)`` is 1. This is rounding, not a clamp: the gradient is kept.
    """
    bounds = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    if bounds == [None, None]:
        return value
    lower, upper = (None if b is None else float(b) for b in bounds)
    tiny = torch.finfo(torch.float32).eps  # priors keep their bounds in single precision
    with torch.no_grad():
        low = None if lower is None else lower + tiny * max(abs(lower), tiny)
        high = None if upper is None else upper - tiny * max(abs(upper), tiny)
        correction = value.clamp(low, high) - value
    return value + correction


def _within(prior: TorchDistribution, support: Constraint) -> bool:
    """Whether the prior's support lies within ``support``: probe with the prior's own draws
    and with the bounds that its support declares.
    """
    probes = []
    for name in ("lower_bound", "upper_bound"):
        bound = getattr(prior.support, name, None)
        if bound is not None:
            probes.append(float(bound))
    edges = torch.tensor(probes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner = biject_to(prior.support)(torch.linspace(-4, 4, 33))
    inside = bool(support.check(inner).all())
    if not probes:
        return inside
    return inside and bool(_closed(support, edges).all())


def _closed(support: Constraint, values: Tensor) -> Tensor:
    lower = getattr(support, "lower_bound", -float("inf"))
    upper = getattr(support, "upper_bound", float("inf"))
    return (values >= lower) & (values <= upper)


def describe_support(support: Constraint | None) -> str:
    """A support in words.

    >>> describe_support(torch.distributions.constraints.positive)
    'values above 0'
    """
    lower, upper = (getattr(support, k, None) for k in ("lower_bound", "upper_bound"))
    if lower is not None and upper is not None:
        return f"values between {float(lower):g} and {float(upper):g}"
    if lower is not None:
        return f"values above {float(lower):g}"
    if upper is not None:
        return f"values below {float(upper):g}"
    return "all real values"
