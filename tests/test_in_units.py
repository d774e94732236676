"""An unknown in units of the law's own force: exact sensitivities, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.diagnostics.score import coverage
from groundvae.guides.follow import parts_of
from groundvae.models import sensitivity
from groundvae.models.normalscore import NormalScore
from groundvae.models.path import along, solved
from groundvae.models.values import Values

TIMES = np.linspace(0.0, 5.0, 41)
NOISE = 0.01  # m


class Spring(gv.Dynamics):
    """A mass on a spring, the law of small swings of a pendulum."""

    omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where the mass is let go")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z: Values, inputs: Values) -> dict[str, Tensor | float]:
        return {"position": z.start, "velocity": 0.0}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> dict[str, Tensor]:
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}

    def stiffness(self, z: Values) -> Tensor:
        """1/s^2."""
        return z.omega**2


def swings(n: int, seed: int) -> Dataset:
    """What a pendulum does: the spring lacks ``omega^2 (q - sin q)``, and a friction."""
    random = np.random.default_rng(seed)
    omega, start = np.exp(0.5 + 0.5 * random.standard_normal(n)), random.standard_normal(n)
    friction = random.uniform(0.0, 0.3, n)

    def law(_: float, state: np.ndarray) -> np.ndarray:
        q, v = state.reshape(2, n)
        return np.concatenate([v, -(omega**2) * np.sin(q) - friction * v])

    begin = np.concatenate([start, np.zeros(n)])
    x = solve_ivp(law, (0, TIMES[-1]), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8).y[:n]
    x = x + NOISE * random.standard_normal(x.shape)
    return Dataset(x, {"t": TIMES}, {"omega": omega, "start": start})


def both() -> gv.GreyBox:
    """What is missing, in units of a rate and of the law's own force."""
    return gv.GreyBox(
        Spring(),
        [gv.Unknown("velocity"), gv.Unknown("velocity", units="stiffness", frequencies=0)],
        gv.Gaussian(),
    )


@pytest.fixture
def near() -> tuple[gv.GreyBox, list[NormalScore], Tensor, Batch]:
    """A model at points of its prior."""
    torch.manual_seed(0)
    residuals = [
        gv.Unknown("velocity", span=7.0, frequencies=3, degree=1),
        gv.Unknown("velocity", span=7.0, frequencies=2, degree=2, units="stiffness"),
    ]
    model = gv.GreyBox(Spring(), residuals, gv.Gaussian(NOISE)).double()
    for residual in residuals:
        for each in (residual.log_power, residual.log_constant, residual.log_variance):
            each.data.fill_(-5.0)
        residual.mean.data.fill_(-0.02)
    batch = Batch.of(swings(4, 1), dtype=torch.double)
    scores = [NormalScore(z.prior_like(batch.x, {})) for z in model.latents]
    at = 0.3 * torch.randn(4, len(scores) + model.auxiliary).double()
    return model, scores, at, batch


def test_sensitivities_are_those_of_the_program(
    near: tuple[gv.GreyBox, list[NormalScore], Tensor, Batch],
) -> None:
    model, scores, at, batch = near
    found = sensitivity.linearize(model, scores, at, batch)
    with torch.no_grad():
        exact = sensitivity._forward(model, scores, at, batch)
    torch.testing.assert_close(found.mean, exact.mean)
    moved = torch.ones(at.shape[1], dtype=torch.bool)
    moved[[part.first for part in parts_of(model)]] = False  # own scales move by fixed points
    there, expected = (each.jacobian[..., moved] for each in (found, exact))
    torch.testing.assert_close(there, expected, rtol=1e-6, atol=1e-8)


def test_a_lifted_path_goes_where_the_law_does(
    near: tuple[gv.GreyBox, list[NormalScore], Tensor, Batch],
) -> None:
    """To first order: half the way has a quarter of the error."""
    model, scores, at, batch = near
    method = sensitivity.fixed_step(model)
    assert method is not None
    here = along(solved(model, scores, at, batch, method), model, scores, at, batch, lifted=True)
    step, off = 0.02 * torch.ones_like(at), []
    step[:, [part.first for part in parts_of(model)]] = 0.0
    for share in (1.0, 0.5):
        there = solved(model, scores, at + share * step, batch, method).states
        off.append((here.shifted(at + share * step).states - there).abs().max().item())
    assert off[1] < 0.3 * off[0]


def test_functions_are_not_placed_in_units() -> None:
    with pytest.raises(InputError, match="in units of 'stiffness' learns 1 functions"):
        gv.Unknown("velocity", units="stiffness", learned=1)
    with pytest.raises(InputError, match="which Spring does not have"):
        gv.GreyBox(Spring(), gv.Unknown("velocity", units="weight"), gv.Gaussian())


@pytest.mark.slow
def test_a_force_that_grows_with_the_law_s_own_is_found() -> None:
    """A linearized pendulum: of omega's intervals six tenths hold where weights have no units."""
    train, valid, test = (swings(n, seed) for n, seed in ((150, 1), (50, 2), (150, 3)))
    run = gv.fit(both(), train, valid=valid, seed=0)
    draws = gv.posterior(run, test)["posterior"]["omega"].values[0]
    assert 0.82 <= coverage(draws, test.truth["omega"], 0.9) <= 0.98
    assert np.abs(np.median(draws, 0) - test.truth["omega"]).mean() < 0.02
