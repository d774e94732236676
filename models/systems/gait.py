"""Human gait: a learned Hamiltonian system moves the joints, a residual corrects.

``q' = dH/dp, p' = -dH/dq`` with H learned and (q, p) at t = 0 inferred; the angles are a linear
map of q plus a waveform that z_aux sets. Source: Takeishi & Kalousis (2021), section 4.4.
"""

from __future__ import annotations

import math

import torch
from pyro.distributions import Normal
from torch import Tensor

from groundvae.data import gait as data
from groundvae.models.catalogue import Variant, enter
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.energyfunction import EnergyFunction, LearnedHamiltonian
from groundvae.models.function import Nothing
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.network import linear
from groundvae.models.noises.spectral import Spectral
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.residuals import Network, Residual, Waveform
from groundvae.models.system import System
from groundvae.models.values import Values
from groundvae.physics.solver import Interpolated, Leapfrog, Midpoint, Solver

DIMENSION = 3  # of q
STRIDE = 2.0  # s, of the time axis on which a stride is laid out


def _start(what: str, i: int) -> Latent:
    meaning = f"generalized {what} {i} at the start of the stride"
    return Latent(Normal(0.0, 1.0), unit="1", meaning=meaning)


class Walk(Dynamics):
    """Three joints that follow three hidden coordinates, which something moves."""

    states = {"q": DIMENSION, "p": DIMENSION}
    axes = ("time", "joint")
    labels = {"joint": data.JOINTS}
    quantity, unit, limits = "flexion", "rad", (-math.pi, math.pi)
    physics = False
    release = None
    solver: Solver | str = Midpoint(0.02)
    q1, q2, q3 = (_start("position", i + 1) for i in range(DIMENSION))
    p1, p2, p3 = (_start("momentum", i + 1) for i in range(DIMENSION))

    def __init__(self) -> None:
        super().__init__()
        self.joints = linear(DIMENSION, len(data.JOINTS), start=0.5)

    def initial(self, z: Values, inputs: Values) -> Rate:
        q, p = torch.cat([z.q1, z.q2, z.q3], -1), torch.cat([z.p1, z.p2, z.p3], -1)
        return {"q": q, "p": p}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"q": 0.0, "p": 0.0}

    def observe(self, state: Values, z: Values, inputs: Values) -> Tensor:
        angles: Tensor = self.joints(state.q)
        return angles


class Gait(Walk, LearnedHamiltonian):
    """Mechanics whose energy is learned; the samples between its steps are interpolated."""

    physics = True
    solver = Interpolated(Leapfrog(0.04))  # s

    def __init__(self, *, width: int = 128) -> None:
        super().__init__()
        harmonics = 2 * math.pi / STRIDE * torch.arange(1.0, DIMENSION + 1)
        self.hamiltonian = EnergyFunction(harmonics, width=width)

    rate = LearnedHamiltonian.rate


def _model(system: System, residual: Residual | tuple[()]) -> GreyBox:
    noise = Spectral(len(data.JOINTS), rate_multiplier=5.0, independent=True)  # rad
    return GreyBox(system, residual, noise)


def _waveform(auxiliary: int) -> Waveform:
    return Waveform(auxiliary=auxiliary, channels=len(data.JOINTS), length=2.0, spread=0.06)


def hybrid() -> GreyBox:
    """Mechanics, and a waveform beside them."""
    return _model(Gait(), _waveform(15))


def nn_solver() -> GreyBox:
    """Any law of motion."""
    return _model(Walk(), Network(("q", "p"), ("q", "p"), auxiliary=15, scale=math.pi, start=1.0))


OPTIONS = FitOptions(
    steps=1000, batch_size=100, learning_rate=4e-3, warmup=0.3, sleep=0.0, calibrate=0.0
)
EXACT = Recipe(guide="laplace-normal", options=OPTIONS)  # 400 strides are few for a network
WEIGHTS = {"hybrid_simulation": 5.0, "ppc": 1e-3}  # of ppc: how much the mechanics explain
REGULARIZED = Recipe("regularized", WEIGHTS, "laplace-normal", options=OPTIONS)

enter(
    "gait",
    "joint angles over a stride; known: Hamilton's equations, H itself is learned",
    Gait,
    {
        "nn-only": Variant(lambda: _model(Nothing(Walk), _waveform(21)), EXACT),
        "nn-solver": Variant(nn_solver, EXACT),
        "physics-only": Variant(lambda: _model(Gait(), ()), EXACT),
        "hybrid": Variant(hybrid, EXACT),
        "hybrid-reg": Variant(hybrid, REGULARIZED),
    },
    data.SOURCE,
)
