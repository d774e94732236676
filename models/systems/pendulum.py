"""The pendulum: gravity is known; what pushes and brakes it is not.

``theta'' = -omega^2 sin(theta) + residual``, at rest at ``theta0`` at t = 0: a latent, since an
input would let its noise pass for certainty. Source: Takeishi & Kalousis (2021), section 4.1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pyro.distributions import Uniform
from torch import Tensor
from torch.distributions import constraints

from groundvae.data import pendulum as data
from groundvae.models.catalogue import Variant, enter
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.function import Nothing
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import AT_MODES, EVIDENCE, FitOptions, Recipe
from groundvae.models.residuals import DeepONet, Network, Residual, Unknown, Waveform, Waves
from groundvae.models.values import Values

NOISE = 0.1  # rad, where it starts
REFERENCE_OMEGA = 2.0  # rad/s, the middle of the prior: there a residual's stiffness is 1


class Release(Dynamics):
    """An angle that something moves, from rest at ``theta0``: no physics, the frame of it."""

    states = ("theta", "velocity")
    observed = "theta"
    quantity, unit = "angle", "rad"
    release, solver = "the release", "parallel_adjoint"
    physics = False
    theta0 = Latent(
        Uniform(-2.0, 2.0),
        unit="rad",
        meaning="angle at which the pendulum is released",
        support=constraints.interval(-torch.pi, torch.pi),
    )

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"theta": z.theta0, "velocity": 0.0}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"theta": state.velocity, "velocity": 0.0}


class Pendulum(Release):
    """The frictionless pendulum."""

    physics = True
    omega = Latent(
        Uniform(0.392, 3.53),
        unit="rad/s",
        meaning="natural angular frequency of small swings, sqrt(g / l)",
        support=constraints.positive,
    )

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"theta": state.velocity, "velocity": -(z.omega**2) * torch.sin(state.theta)}

    def stiffness(self, z: Values) -> Tensor:
        """Gravity's force in units of the middle pendulum's: forces in its units grow with it."""
        return (z.omega / REFERENCE_OMEGA) ** 2


class DrivenPendulum(Release):
    """The same frame, solved in the coarse: where no law is known there is none to be true to."""

    solver = "midpoint"


def beside(residual: Residual | tuple[()] = ()) -> GreyBox:
    """Gravity and a residual; on the observation nothing, and why: docs/pendulum.md."""
    return GreyBox(Pendulum(), residual, Gaussian(NOISE))


def hybrid() -> GreyBox:
    """Networks of velocity, time and ``z_aux`` that are told no shape."""
    return beside(DeepONet("velocity", ("velocity",)))


def nn_solver() -> GreyBox:
    """As in the public code: without the part on the observation it stays on a plateau."""
    sees = ("theta", "velocity", "t")
    network = Network(("velocity", "observation"), sees, auxiliary=5, scale=10.0)
    return GreyBox(DrivenPendulum(), network, Gaussian(NOISE))


def nn_only() -> GreyBox:
    """A waveform that knows nothing."""
    waveform = Waveform(auxiliary=6, highest=8.0, length=1.5, spread=1.0)
    return GreyBox(Nothing(Pendulum), waveform, Gaussian(NOISE))


LONG = FitOptions(steps=1600, learning_rate=4e-3, warmup=0.6, calibrate=0.2)
AWAKE = Recipe(guide="laplace-normal", options=LONG)
TOLD = Recipe("regularized", guide="laplace-normal")
WAVE = "that it is one wave and a linear friction"
enter(
    "pendulum",
    "a forced damped pendulum; known: gravity; left out: forcing and friction",
    Pendulum,
    {
        "nn-only": Variant(nn_only, AWAKE),
        "nn-solver": Variant(nn_solver, AWAKE),
        "physics-only": Variant(beside, AWAKE),
        "hybrid": Variant(hybrid, replace(AT_MODES, loss="exact", weights={})),
        "hybrid-reg": Variant(hybrid, AT_MODES),
        "hybrid-told": Variant(lambda: beside(Waves("velocity", units="stiffness")), TOLD, WAVE),
        "hybrid-evidence": Variant(lambda: beside(Unknown("velocity")), EVIDENCE),
    },
    data.SOURCE,
    "hybrid-evidence",
)
