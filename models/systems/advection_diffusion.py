"""Advection-diffusion on a line: diffusion is known; what else moves the field is not.

``y_t = diffusion * y_ss + residual`` from ``y(0, s) = magnitude * sin(pi s / s_max)``. The
magnitude is a latent, not read off the first sample: that is observed with noise, which an input
would pass for certainty. Source: Takeishi & Kalousis (2021), section 4.2.
"""

from __future__ import annotations

from dataclasses import replace

from pyro.distributions import Uniform
from torch.distributions import constraints

from groundvae.data import advection_diffusion as data
from groundvae.models.catalogue import Variant, enter
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.function import Nothing
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import EVIDENCE, FitOptions, Recipe
from groundvae.models.residuals import Network, Residual, Stencil, UnknownField
from groundvae.models.system import System
from groundvae.models.values import Values
from groundvae.physics.advection_diffusion import curvature, half_sine
from groundvae.physics.solver import RK4, ParallelAdjoint, Solver


class Line(Dynamics):
    """A field on a line that something moves, from half a sine: no physics, the frame of it."""

    states = {"y": data.POINTS}
    observed = "y"
    axes = ("time", "space")
    coordinates = {"t": "time", "s": "space"}
    quantity, unit = "concentration", "1"
    release = "the initial time"
    physics = False
    solver: Solver | str = "exponential"  # exact; what is not linear in y needs RK4(0.02)
    magnitude = Latent(
        Uniform(0.25, 2.0),
        unit="1",
        meaning="height of the initial profile, half a sine along the line",
        support=constraints.positive,
    )

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"y": half_sine(z.magnitude.squeeze(-1), data.POINTS)}

    def rate(self, t: object, state: Values, z: Values, inputs: Values) -> Rate:
        return {"y": 0.0}


class AdvectionDiffusion(Line):
    """Diffusion, zero beyond both ends."""

    physics = True
    diffusion = Latent(
        Uniform(0.005, 0.2),
        unit="m^2/s",
        meaning="diffusion coefficient",
        support=constraints.positive,
    )

    def rate(self, t: object, state: Values, z: Values, inputs: Values) -> Rate:
        return {"y": z.diffusion * curvature(state.y, data.SPACING)}


def _model(system: System, residual: Residual | tuple[()]) -> GreyBox:
    return GreyBox(system, residual, Gaussian(0.02, rate_multiplier=30.0))


def nn_solver() -> GreyBox:
    """Any linear law of three neighbours."""
    return _model(Line(), Stencil("y", auxiliary=5, odd=False, scale=10.0))


def nn_only() -> GreyBox:
    """No dynamics at all: a perceptron of z and of Fourier features of time gives the profile."""
    free = Network("observation", ("t",), auxiliary=6, pairs=4, highest=1.0, width=128, start=1.0)
    return _model(Nothing(Line), free)


class NonlinearLine(AdvectionDiffusion):
    """The same law, solved step by step: what is missing need not be linear."""

    solver = ParallelAdjoint(RK4(0.02))


def hybrid() -> GreyBox:
    """Diffusion, and a network of the whole field and of ``z_aux`` that is told no shape."""
    return _model(NonlinearLine(), Network("y", ("y",), start=0.1))


OPTIONS = FitOptions(3000, 0.0, 0.0, batch_size=100, learning_rate=4e-3, warmup=0.3)
EXACT, REGULARIZED = Recipe(options=OPTIONS), Recipe("regularized", options=OPTIONS)
FREE = replace(OPTIONS, steps=600)  # of a law that is solved step by step
ODD = "that it is odd and linear: a flow"

enter(
    "advection_diffusion",
    "advection and diffusion on a line; known: diffusion; left out: advection",
    AdvectionDiffusion,
    {
        "nn-only": Variant(nn_only, EXACT),
        "nn-solver": Variant(nn_solver, EXACT),
        "physics-only": Variant(lambda: _model(AdvectionDiffusion(), ()), EXACT),
        "hybrid": Variant(hybrid, Recipe(options=FREE)),
        "hybrid-reg": Variant(hybrid, Recipe("regularized", {"ppc": 1e-2}, options=FREE)),
        "hybrid-told": Variant(
            lambda: _model(AdvectionDiffusion(), Stencil("y")), REGULARIZED, ODD
        ),
        "hybrid-evidence": Variant(
            lambda: _model(NonlinearLine(), UnknownField("y", spacing=data.SPACING)), EVIDENCE
        ),
    },
    data.SOURCE,
    "hybrid-evidence",
)
