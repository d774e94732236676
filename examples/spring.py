"""Your own physics: a mass on a spring, whose stiffness is known to matter; its drag is not known.

One file, and all commands of groundvae are there for it:

    python examples/spring.py fit spring --out runs/spring
    python examples/spring.py diagnose runs/spring

Known: ``x'' = -omega^2 x``. Left out, and in the data: quadratic drag, ``-drag |x'| x'``. The
mass is let go at rest, ``start`` from where it hangs. Copy the file, and replace the law, the
latents and the data with yours.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pyro.distributions as dist
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.distributions import constraints

from groundvae.cli.main import main
from groundvae.data.dataset import Dataset
from groundvae.models.catalogue import Entry, register
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.residual import NeuralResidual
from groundvae.models.system import Decoded, System, from_start
from groundvae.physics.solver import RK4, ParallelAdjoint, solve

# What is known: the physics latents, with priors, units and what they mean ...
OMEGA = Latent(
    "omega",
    dist.LogNormal(0.5, 0.5),
    "rad/s",
    "angular frequency of the free spring, sqrt(k / m)",
    constraints.positive,
)
START = Latent("start", dist.Normal(0.0, 1.0), "m", "where the mass is let go", constraints.real)


class Spring(System):
    """... and the law, beside a residual (m/s^2) that sees the velocity, but not the position.

    A residual that saw the position could be a spring itself, and ``omega`` mean nothing.
    """

    event_dim = 1
    grounded = True

    def __init__(self, residual: NeuralResidual | None = None) -> None:
        super().__init__()
        self.latents = LatentSpec((OMEGA, START))
        self.residual = residual
        self.auxiliary = residual.auxiliary if residual else 0
        self.solver = ParallelAdjoint(RK4(0.1))

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        alone = self._path(physics, None, inputs["t"])
        if self.residual is None or auxiliary is None:
            return Decoded(alone, alone)
        return Decoded(self._path(physics, auxiliary, inputs["t"]), alone)

    def _path(
        self, physics: Mapping[str, Tensor], auxiliary: Tensor | None, times: Tensor
    ) -> Tensor:
        released = from_start(times, "the release")
        push = None
        if self.residual is not None and auxiliary is not None:
            push = self.residual.bind(auxiliary, self.solver.stage_times(released))
        pull = -(physics["omega"] ** 2)

        def field(time: Tensor, state: Tensor) -> Tensor:
            position, velocity = states = state.unbind(-1)
            total = pull * position if push is None else pull * position + push(time, states)
            return torch.stack([velocity, total], -1)

        begin = torch.stack([physics["start"], torch.zeros_like(physics["start"])], -1)
        return solve(field, begin, released, self.solver)[..., -len(times) :, 0]


# Where data come from: here a simulator; with data of your own, ``fit spring --data FILE.npz``.
TIMES = np.linspace(0.0, 3.0, 31)
NOISE = 0.02  # m


def simulate(n: int, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    truth = {
        "omega": random.uniform(1.0, 3.0, n),
        "start": random.uniform(0.3, 1.0, n) * random.choice([-1.0, 1.0], n),
        "drag": random.uniform(0.0, 1.0, n),  # 1/m
    }

    def law(_: float, state: np.ndarray) -> np.ndarray:
        position, velocity = state.reshape(2, n)
        drag = truth["drag"] * np.abs(velocity) * velocity
        return np.concatenate([velocity, -(truth["omega"] ** 2) * position - drag])

    begin = np.concatenate([truth["start"], np.zeros(n)])
    solved = solve_ivp(law, (0, TIMES[-1]), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8)
    x = solved.y[:n] + NOISE * random.standard_normal((n, len(TIMES)))
    return Dataset(x, {"t": TIMES}, truth)


def hybrid() -> Spring:
    return Spring(NeuralResidual(1, states=(1,), width=32))


SPRING = Entry(
    name="spring",
    summary="a mass on a spring; known: the spring; left out: drag",
    variants={"physics-only": Spring, "hybrid": hybrid, "hybrid-reg": hybrid},
    noise=0.1,  # m, where the learned noise scale starts
    axes=("time",),
    coordinates={"t": "time"},
    quantity="position",
    unit="m",
    references=("omega", "start", "drag"),
    simulate=simulate,
    guide="laplace-normal",
    # A neural residual starts silent: simulations of it teach a guide little before it has learned.
    options={"steps": 1200, "sleep": 0.5, "calibrate": 0.25, "learning_rate": 4e-3},
)

if __name__ == "__main__":
    register(SPRING)
    sys.exit(main())
