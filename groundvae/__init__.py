"""Probabilistic models in which part of the latent space is grounded by physics.

Whoever knows a law writes the law and nothing else, and gets a posterior that is right:

    import groundvae as gv

    class Spring(gv.Dynamics):
        omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
        start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where it is let go")
        states = ("position", "velocity")
        observed = "position"

        def initial(self, z, inputs):
            return {"position": z.start, "velocity": 0.0}

        def rate(self, t, state, z, inputs):
            return {"position": state.velocity, "velocity": -z.omega**2 * state.position}

    model = gv.GreyBox(Spring(), gv.Unknown("velocity"), gv.Gaussian())
    run = gv.fit(model, gv.read("spring.csv"))

Names are imported when they are first used, so that ``import groundvae`` costs nothing and changes
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro.distributions import LogNormal as LogNormal
    from pyro.distributions import Normal as Normal
    from pyro.distributions import Uniform as Uniform

    from groundvae.data.dataset import Dataset as Dataset
    from groundvae.data.input import Input as Input
    from groundvae.data.reading import read as read
    from groundvae.diagnostics.reporting import report as report
    from groundvae.inference.discovery import discovered as discovered
    from groundvae.inference.fit import fit as fit
    from groundvae.inference.posterior import posterior as posterior
    from groundvae.inference.run import Run as Run
    from groundvae.inference.run import load_run as load_run
    from groundvae.models.declared import register as register
    from groundvae.models.dynamics import Dynamics as Dynamics
    from groundvae.models.dynamics import Hamiltonian as Hamiltonian
    from groundvae.models.function import Function as Function
    from groundvae.models.greybox import GreyBox as GreyBox
    from groundvae.models.intervention import Change as Change
    from groundvae.models.latent import Latent as Latent
    from groundvae.models.noises.correlated import Correlated as Correlated
    from groundvae.models.noises.gaussian import Gaussian as Gaussian
    from groundvae.models.noises.poisson import Poisson as Poisson
    from groundvae.models.noises.studentt import StudentT as StudentT
    from groundvae.models.recipe import FitOptions as FitOptions
    from groundvae.models.recipe import Recipe as Recipe
    from groundvae.models.residuals.network import Network as Network
    from groundvae.models.residuals.residual import Residual as Residual
    from groundvae.models.residuals.unknown import Unknown as Unknown
    from groundvae.models.residuals.waves import Waves as Waves

_WHERE = {
    "Change": "models.intervention",
    "Correlated": "models.noises.correlated",
    "Dataset": "data.dataset",
    "Dynamics": "models.dynamics",
    "FitOptions": "models.recipe",
    "Function": "models.function",
    "Gaussian": "models.noises.gaussian",
    "GreyBox": "models.greybox",
    "Hamiltonian": "models.dynamics",
    "Input": "data.input",
    "Latent": "models.latent",
    "Network": "models.residuals.network",
    "Poisson": "models.noises.poisson",
    "Recipe": "models.recipe",
    "Residual": "models.residuals.residual",
    "Run": "inference.run",
    "StudentT": "models.noises.studentt",
    "Unknown": "models.residuals.unknown",
    "Waves": "models.residuals.waves",
    "discovered": "inference.discovery",
    "fit": "inference.fit",
    "load_run": "inference.run",
    "posterior": "inference.posterior",
    "read": "data.reading",
    "register": "models.declared",
    "report": "diagnostics.reporting",
}
_PRIORS = ("LogNormal", "Normal", "Uniform")

__all__ = [
    "Change",
    "Correlated",
    "Dataset",
    "Dynamics",
    "FitOptions",
    "Function",
    "Gaussian",
    "GreyBox",
    "Hamiltonian",
    "Input",
    "Latent",
    "LogNormal",
    "Network",
    "Normal",
    "Poisson",
    "Recipe",
    "Residual",
    "Run",
    "StudentT",
    "Uniform",
    "Unknown",
    "Waves",
    "discovered",
    "fit",
    "load_run",
    "posterior",
    "read",
    "register",
    "report",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name in _PRIORS:
        return getattr(importlib.import_module("pyro.distributions"), name)
    if name in _WHERE:
        return getattr(importlib.import_module(f"groundvae.{_WHERE[name]}"), name)
    raise AttributeError(f"groundvae has no {name!r}, known: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
