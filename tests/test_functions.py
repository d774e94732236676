"""Functions of states that are learned by evidence: exact answers, what is placed, what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.diagnostics.score import coverage
from groundvae.guides.admission import admit_states, effects
from groundvae.guides.follow import parts_of
from groundvae.guides.pushes import Pushes, candidate_gains
from groundvae.guides.search import Search
from groundvae.inference.discovery import discovered
from groundvae.inference.fit import fit
from groundvae.inference.posterior import posterior
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.normalscore import NormalScore
from groundvae.models.recipe import EVIDENCE
from groundvae.models.residuals import Unknown, UnknownField
from groundvae.models.residuals.learnedweights import START
from groundvae.models.residuals.radial import KINDS, Radial, candidates, shaped
from groundvae.models.values import Values
from groundvae.models.written import build, write

TIMES = np.linspace(0.0, 5.0, 51)
NOISE = 0.02  # m


class Spring(Dynamics):
    """A mass on a spring."""

    omega = Latent(dist.LogNormal(0.5, 0.5), "rad/s", "sqrt(k / m)")
    start = Latent(dist.Normal(0.0, 1.0), "m", "where the mass is let go")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"position": z.start, "velocity": 0.0}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}


def bump(position: np.ndarray) -> np.ndarray:
    """What pushes, over its height, at a position (m)."""
    found: np.ndarray = np.exp(-0.5 * ((position - 0.4) / 0.15) ** 2)
    return found


def pushed(
    n: int, seed: int, *, height: float = 1.5, form: Callable[[np.ndarray], np.ndarray] = bump
) -> Dataset:
    """Springs that something pushes, more or less ``height`` times its ``form`` of a position."""
    random = np.random.default_rng(seed)
    omega = np.exp(0.5 + 0.3 * random.standard_normal(n))
    start = random.standard_normal(n)
    own = height * np.exp(0.3 * random.standard_normal(n))

    def law(_: float, state: np.ndarray) -> np.ndarray:
        q, v = state.reshape(2, n)
        return np.concatenate([v, -(omega**2) * q + own * form(q)])

    begin = np.concatenate([start, np.zeros(n)])
    x = solve_ivp(law, (0, 5), begin, t_eval=TIMES, rtol=1e-8, atol=1e-8).y[:n]
    x = x + NOISE * random.standard_normal(x.shape)
    return Dataset(x, {"t": TIMES}, {"omega": omega, "start": start})


@dataclass(frozen=True)
class About:
    """A search of some springs, at points of the prior; its residual has one function placed."""

    search: Search
    residual: Unknown


def about(acts_on: tuple[str, ...] = ("velocity",), *, own_times: bool = False) -> About:
    torch.manual_seed(0)
    residual = Unknown(acts_on, degree=1, frequencies=4, span=7.0)
    model = GreyBox(Spring(), residual, Gaussian(NOISE)).double()
    data, n = pushed(4, 1), 4
    batch = Batch.of(data, dtype=torch.double)
    times = batch.inputs["t"]
    if own_times:
        batch = Batch(
            batch.x, {**batch.inputs, "t": times.expand(n, -1) * (1 + 0.1 * torch.rand(n, 1))}
        )
    for parameter in (residual.log_power, residual.log_constant, residual.log_variance):
        parameter.data.fill_(-3.0)
    chosen = torch.linspace(0.5, 0.8, len(acts_on)).double()
    residual.place(torch.tensor([0.3, 0.1]), torch.tensor([0.5, 2.0]), 0, chosen, 0.3 * chosen)
    scores = [NormalScore(z.prior_like(batch.x, {})) for z in model.latents]
    at = 0.3 * torch.randn(n, len(scores) + model.auxiliary).to(batch.x)
    return About(Search(model, scores, batch, at), residual)


@pytest.mark.parametrize("own_times", [False, True], ids=["one grid", "own grids"])
@pytest.mark.parametrize("acts_on", [("velocity",), ("velocity", "position")])
def test_influence_gives_what_a_function_does(acts_on: tuple[str, ...], own_times: bool) -> None:
    made = about(acts_on, own_times=own_times)
    pushes = Pushes(made.search, parts_of(made.search.model)[0], made.residual, 1.0)
    nodes = pushes.influence.unflatten(-1, (len(acts_on), -1))[:, :, -1]  # of the last state
    found = (nodes @ pushes.first[..., :1]).squeeze(-1) * NOISE
    scale = made.residual.root.diagonal()[-2]  # of its weight; the other function is not placed
    columns = made.search.jacobian[..., -2] / scale
    assert torch.allclose(found, columns, atol=0.02 * columns.abs().max().item())


def test_evidence_of_functions_is_that_of_the_linear_model() -> None:
    made = about(("velocity", "position"))
    pushes = Pushes(made.search, parts_of(made.search.model)[0], made.residual, 30.0)
    told = pushes.told(but=True)

    def both() -> tuple[Tensor, Tensor]:
        linear = pushes.linear()
        return told.evidence(*pushes.functions()).detach(), (
            linear.evidence + linear.gain()
        ).detach()

    first = both()
    made.residual.radial.place.data += 0.2
    made.residual.radial.log_width.data -= 0.3
    second = both()
    moved = [after - before for before, after in zip(first, second, strict=True)]
    assert moved[0].abs().min() > 1e-3
    assert torch.allclose(moved[0], moved[1], rtol=1e-6, atol=1e-8)


def test_a_path_that_ran_away_does_not_stop_the_others() -> None:
    made = about()
    made.search.at[1, 0] = 60.0  # a frequency that no step of the solver follows
    made.search.renew()
    assert made.search.alive.tolist() == [True, False, True, True]
    pushes = Pushes(made.search, parts_of(made.search.model)[0], made.residual, 30.0)
    found = pushes.told(but=True).evidence(*pushes.functions())
    assert torch.isfinite(found[made.search.alive]).all()
    (slope,) = torch.autograd.grad(found[made.search.alive].sum(), made.residual.radial.place)
    assert torch.isfinite(slope).all()


def test_gain_of_a_candidate_is_the_ratio_of_likelihoods() -> None:
    torch.manual_seed(1)
    precision = torch.rand(400, 3).double() * 4 + 0.5
    truth = torch.tensor([0.0, 0.8, 0.0]) + torch.tensor([0.0, 0.0, 1.5]) * torch.randn(400, 1)
    found = truth + torch.randn(400, 3) / precision.sqrt()
    gain, mean, variance = candidate_gains(found, precision)
    wide = dist.Normal(mean, (variance + 1 / precision).sqrt()).log_prob(found)
    none = dist.Normal(0.0, 1 / precision.sqrt()).log_prob(found)
    assert torch.allclose(gain, (wide - none).sum(0))
    assert gain[0] < 4.0
    assert torch.allclose(mean, torch.tensor([0.0, 0.8, 0.0]).double(), atol=0.2)
    assert torch.allclose(variance.sqrt()[2], torch.tensor(1.5).double(), atol=0.2)


def test_the_best_candidate_is_the_function_that_is_missing() -> None:
    """Along the true paths, the data alone say where a push is."""
    residual = Unknown("velocity", degree=0, learned=1, frequencies=4, span=7.0)
    model = GreyBox(Spring(), residual, Gaussian(NOISE)).double()
    data = pushed(60, 3, height=0.1)
    batch = Batch.of(data, dtype=torch.double)
    residual.scale_of.fill_(0.8)
    scores = [NormalScore(z.prior_like(batch.x, {})) for z in model.latents]
    truth = torch.tensor(np.stack([data.truth[z] for z in model.latents.names], 1)).to(batch.x)
    at = torch.cat(
        [s.score(u).unsqueeze(-1) for s, u in zip(scores, truth.unbind(1), strict=True)], 1
    )
    at = torch.cat([at, at.new_zeros(len(at), model.auxiliary)], 1)
    search = Search(model, scores, batch, at)
    pushes = Pushes(search, parts_of(model)[0], residual, 30.0)
    places, widths, kinds = candidates(2, at)
    values = shaped(residual.seen(pushes.states), places, widths, kinds)
    gain, mean, _ = pushes.told().gains(values, torch.ones(len(at), dtype=torch.bool))
    best = int(gain[0].argmax())
    assert 0.8 * float(places[best, 0]) == pytest.approx(0.4, abs=0.11)
    assert mean[0, best].item() == pytest.approx(0.1, abs=0.05)
    assert list(KINDS)[int(kinds[best])] == "near"


def test_a_step_is_the_integral_of_a_bump_and_a_bend_that_of_a_step() -> None:
    at = torch.linspace(-3, 3, 601, dtype=torch.double).unsqueeze(-1).requires_grad_()
    place, width = torch.full((4, 1), 0.3).double(), torch.full((4, 1), 0.4).double()
    found = shaped(at, place, width, torch.arange(4))
    bump, step, above, below = found.unbind(-1)
    slopes = [
        torch.autograd.grad(f.sum(), at, retain_graph=True)[0].squeeze(-1) for f in (step, above)
    ]
    torch.testing.assert_close(slopes[0], bump / (0.4 * np.sqrt(2 * np.pi)))
    torch.testing.assert_close(slopes[1], step)
    torch.testing.assert_close(above - below, (at - 0.3).squeeze(-1))


def test_a_step_is_along_the_state_that_it_is_narrow_in() -> None:
    at = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    place, width = torch.tensor([[0.0, 0.2]]).double(), torch.tensor([[1e3, 0.3]]).double()
    two = shaped(at, place, width, torch.tensor([2]))
    one = shaped(at[:, 1:], place[:, 1:], width[:, 1:], torch.tensor([2]))
    assert torch.equal(two, one)


def test_of_a_run_from_before_there_were_steps_every_function_is_a_bump() -> None:
    made = Radial(2, 2)
    made.put(torch.zeros(2), torch.ones(2), 3)
    state = {k: v for k, v in made.state_dict().items() if k != "kind"}
    later = Radial(2, 2)
    later.load_state_dict(state)
    assert later.kind.tolist() == [0.0, 0.0]
    assert later.placed.tolist() == [1.0, 0.0]


def test_features_begin_anew_where_a_function_comes_in() -> None:
    """None is preferred for having been there first; the points and the scales stay."""
    made = about()
    search, residual, (part,) = made.search, made.residual, parts_of(made.search.model)
    scales = torch.tensor([0.7, 1.9]).double()
    residual.admit(scales, torch.ones(1).double())
    residual.mean.data.fill_(-0.05)
    residual.log_variance.data.fill_(-6.0)
    search.renew()
    raw = residual.weights(search.at[:, part.auxiliary])
    admit_states(search, [part])
    assert not residual.mean.any()
    torch.testing.assert_close(residual.scale_of, scales)
    torch.testing.assert_close(residual.weights(search.at[:, part.auxiliary]), raw)
    equal = effects(search, part)[residual.timed :][~residual._silent]
    torch.testing.assert_close(equal, START * search.batch.x.std() * torch.ones_like(equal))


def test_what_is_not_placed_does_nothing() -> None:
    made = about()
    placed = made.search.jacobian[..., -2].abs().max()
    assert placed > 0
    assert made.search.jacobian[..., -1].abs().max() == 0
    made.residual.take_back()
    made.search.renew()
    assert made.search.jacobian[..., -2:].abs().max() == 0


def test_a_run_of_before_learns_none() -> None:
    written = write(Unknown("velocity"))
    assert build(written, [Unknown]).learned == 2
    del written["learned"]
    before = build(written, [Unknown])
    assert before.learned == 0
    before.attach(Spring())
    assert not any("radial" in name for name in before.state_dict())
    assert UnknownField("y", spacing=0.1).learned == 0
    with pytest.raises(InputError, match="expected 0 or more"):
        Unknown("velocity", learned=-1)


def stopped(position: np.ndarray) -> np.ndarray:
    """What a stop at 0.5 m pushes back, over its stiffness."""
    found: np.ndarray = -0.03 * np.logaddexp(0, (position - 0.5) / 0.03)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("form", "height"), [(bump, 1.5), (stopped, 15.0)])
def test_what_is_missing_at_one_place_is_found(
    form: Callable[[np.ndarray], np.ndarray], height: float
) -> None:
    """Told nothing, its form is found, and omega's intervals hold (21 and 18 % without)."""
    model = GreyBox(Spring(), Unknown("velocity"), Gaussian())
    train, valid, test = (
        pushed(n, seed, height=height, form=form) for n, seed in ((150, 1), (50, 2), (200, 3))
    )
    run = fit(model, train, valid=valid, recipe=EVIDENCE, seed=0)
    draws = posterior(run, test)["posterior"]["omega"].values[0]
    assert 0.82 <= coverage(draws, test.truth["omega"], 0.9) <= 0.98
    assert np.abs(np.median(draws, 0) - test.truth["omega"]).mean() < 0.03
    functions = discovered(run).functions
    some = functions[functions["state"] == "position"]
    there = np.abs(some["value"]) < 1.5
    expected = height * np.exp(0.045) * form(some["value"].to_numpy())
    off = (some["mean"] - expected)[there]
    assert np.sqrt((off**2).mean()) < 0.07 * height
