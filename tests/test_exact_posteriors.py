"""Guides, weights, refinement and NUTS against posteriors that are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.source import Source
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.gaussnewton import GaussNewton
from groundvae.guides.guide import Guide
from groundvae.guides.options import GuideOptions
from groundvae.guides.phase import Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.coordinates import find_coordinates, log_joint
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.importance import UNRELIABLE, guide_ratio, resample
from groundvae.inference.nuts import NutsOptions, nuts
from groundvae.inference.penalty import PENALTIES
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.refine import RefineOptions, refine
from groundvae.inference.run import Run, RunConfig
from groundvae.models.catalogue import SYSTEMS, Entry, Variant
from groundvae.models.function import Function
from groundvae.models.greybox import GreyBox, site_value
from groundvae.models.latent import Latent
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.noises.matern import Matern
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.system import System
from groundvae.models.values import Values

SCALE = 2 / 3  # noise of each of the four samples
TIMES = np.arange(4.0)
SMALL = GuideOptions(width=32, blocks=1)


pytestmark = pytest.mark.usefixtures("one_thread")


class Linear(Function):
    """x = design @ (a, b), a and b standard normal: the posterior is a normal."""

    a, b = (Latent(dist.Normal(0.0, 1.0), meaning="a number") for _ in range(2))

    def __init__(self, design: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("design", torch.tensor(design))

    def predict(self, z: Values, inputs: Values) -> Tensor:
        return torch.cat([z.a, z.b], -1) @ self.design.T

    def exact(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior means (observation, 2), covariance (2, 2), log evidence (observation,)."""
        precision = torch.eye(2).to(x) + self.design.T @ self.design / SCALE**2
        covariance = torch.linalg.inv(precision)
        mean = x @ self.design @ covariance / SCALE**2
        marginal = torch.eye(len(TIMES)).to(x) * SCALE**2 + self.design @ self.design.T
        zero = torch.zeros(len(TIMES)).to(x)
        return mean, covariance, dist.MultivariateNormal(zero, marginal).log_prob(x)


# Only a - b is seen: correlation 0.9 behind. Or each of a and b alone: none.
DIFFERENCE = [[1.0, -1.0]] * 4
SEPARATE = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


class Sign(Function):
    """x = |a|: the sign is not observed, and two modes are equally likely."""

    a = Latent(dist.Uniform(-3.0, 3.0), "rad", "angle")

    def predict(self, z: Values, inputs: Values) -> Tensor:
        return z.a.abs().expand(*z.a.shape[:-1], len(TIMES))


@dataclass
class Toy:
    """A model with exact answers, a guide for it, and observations."""

    model: GreyBox
    guide: Guide
    batch: Batch

    def draws(self, count: int) -> dict[str, Tensor]:
        """Draws (draw, observation) of the guide."""
        with torch.no_grad(), pyro.plate("draw", count, dim=-2):
            trace = poutine.trace(self.guide).get_trace(self.batch)
        return {name: site_value(trace, name) for name in self.model.latent_names}


def observe(model: GreyBox, n: int, seed: int) -> Batch:
    torch.manual_seed(seed)
    blank = Batch(torch.zeros(n, len(TIMES)).double(), {"t": torch.as_tensor(TIMES)})
    with torch.no_grad():
        trace = poutine.trace(poutine.uncondition(model)).get_trace(blank)
    return blank.with_x(site_value(trace, "x"))


def toy(system: System, guide: str) -> Toy:
    """In double precision; the guide is not trained yet."""
    torch.manual_seed(0)
    model = GreyBox(system, (), Gaussian(SCALE)).double().requires_grad_(False)
    made = build_guide(guide, model, len(TIMES), SMALL)
    made.double().prepare(observe(model, 1000, seed=1))
    return Toy(model, made, observe(model, 40, seed=2))


def trained(
    made: Toy, steps: int, *, asleep: bool = False, rows: int = 256, rate: float = 1e-2
) -> Toy:
    """The guide fitted to fresh observations of the model, by the exact ELBO or ``asleep``."""
    if not list(made.guide.parameters()):  # that of modes has nothing to learn
        return made
    optimizer = torch.optim.Adam(made.guide.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    supply = observe(made.model, 20_000, seed=3)
    loss = RegularizedELBO(PENALTIES)
    exact = RegularizedELBO()
    fitting = Fitting(made.model, loss, supply, FitOptions(), Simulator(made.model))

    def measure(batch: Batch) -> Tensor:
        if asleep:
            return loss.asleep(fitting, made.guide, batch)["loss"]
        return exact.differentiable_loss(made.model, made.guide, batch)

    with pyro.validation_enabled(False):
        for _ in range(steps):
            optimizer.zero_grad()
            batch = supply[torch.randint(len(supply), (rows,))]
            measure(batch).backward()
            optimizer.step()
            schedule.step()
    return made


def off(draws: Tensor, mean: Tensor, sd: Tensor) -> tuple[float, float]:
    """Errors of the means, in sd, and of the sds, relative: root mean square, worst latent.

    ``draws`` (draw, observation, latent); means of 8,000 draws are known to 0.011 sd.
    """
    of_mean = ((draws.mean(0) - mean) / sd).pow(2).mean(0).sqrt()
    of_sd = (draws.std(0) / sd - 1).pow(2).mean(0).sqrt()
    return float(of_mean.max()), float(of_sd.max())


# The flow's means and deviations are measured where its correlation is, too; what the other
# guides search from is exact below.
FAST = ("structured-normal", "structured-fullrank")
SLOW = [
    pytest.param(n, marks=pytest.mark.slow)
    for n in GUIDES
    if n not in (*FAST, "modes", "modes-structured")
]


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_every_guide_recovers_mean_and_sd(name: str) -> None:
    system = Linear(SEPARATE)
    rate, steps = (3e-3, 800) if "laplace" in name else (1e-2, 500)
    made = trained(toy(system, name), steps, rows=512 if name in FAST else 1024, rate=rate)
    mean, covariance, _ = system.exact(made.batch.x)
    draws = torch.stack(list(made.draws(8000).values()), -1)
    of_mean, of_sd = off(draws, mean, covariance.diagonal().sqrt())
    assert of_mean < 0.05
    assert of_sd < 0.1


FLOW = pytest.param("structured-flow", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["structured-fullrank", FLOW])
def test_full_rank_and_flow_recover_a_correlation(name: str) -> None:
    system = Linear(DIFFERENCE)
    made = trained(toy(system, name), 300, rows=512)
    mean, covariance, _ = system.exact(made.batch.x)
    exact = float(covariance[0, 1] / covariance[0, 0])
    assert exact == pytest.approx(0.9)
    draws = torch.stack(list(made.draws(8000).values()), -1)
    for i in range(len(made.batch)):
        assert float(torch.corrcoef(draws[:, i].T)[0, 1]) == pytest.approx(exact, abs=0.05)
    of_mean, of_sd = off(draws, mean, covariance.diagonal().sqrt())
    assert of_mean < 0.05
    assert of_sd < 0.1


def test_gauss_newton_finds_the_posterior_of_a_linear_model_whatever_the_start() -> None:
    system = Linear(DIFFERENCE)
    made = toy(system, "laplace-normal")
    mean, covariance, _ = system.exact(made.batch.x)
    start = 3 * torch.randn_like(mean)
    mode = GaussNewton(made.model, made.batch, {}, start, torch.ones_like(start))(30)
    torch.testing.assert_close(mode.centre, mean, atol=1e-6, rtol=0)
    found = mode.factor @ mode.factor.mT
    torch.testing.assert_close(found, covariance.expand_as(found), atol=1e-8, rtol=1e-6)
    assert (mode.misfit[:, 1] < mode.misfit[:, 0]).all()
    torch.testing.assert_close(mode.fitted, torch.full_like(mode.fitted, 18 / 19))


@pytest.mark.parametrize("wrong", [0.3, pytest.param(3.0, marks=pytest.mark.slow)])
def test_the_noise_of_largest_evidence_is_the_true_noise(wrong: float) -> None:
    made = toy(Linear(SEPARATE), "laplace-normal")
    made.guide.rounds = 20
    made.model.noise.requires_grad_(True)  # else it is held
    many = observe(made.model, 4000, seed=4)
    made.model.noise.sharpen(wrong)
    for _ in range(20):
        made.guide.refit_noise(many)
    assert float(made.model.noise.scale.detach()) == pytest.approx(SCALE, rel=0.03)


def test_the_search_reads_the_noise_of_the_model() -> None:
    """Of neighbours that are off together, the posterior of a linear model is the exact one."""
    system = Linear(SEPARATE).double()
    model = GreyBox(system, (), Matern(scale=SCALE, length=2.0)).double().requires_grad_(False)
    batch = observe(model, 20, seed=5)
    unit = torch.eye(4).double()
    white = model.noise.linearize(unit, 0 * unit, times=batch.inputs["t"]).residual.T  # L^-1
    precision = white.T @ white
    covariance = torch.linalg.inv(torch.eye(2) + system.design.T @ precision @ system.design)
    mean = batch.x @ precision @ system.design @ covariance
    start = torch.zeros(20, 2).double()
    mode = GaussNewton(model, batch, {}, start, torch.ones_like(start))(30)
    torch.testing.assert_close(mode.centre, mean, atol=1e-6, rtol=0)
    usual = mode.misfit[:, 1] < 1.0  # others count for less than their curvature
    found = (mode.factor @ mode.factor.mT)[usual]
    torch.testing.assert_close(found, covariance.expand_as(found), atol=1e-8, rtol=1e-6)


def test_a_missing_sample_counts_for_nothing_in_the_search() -> None:
    made = toy(Linear(SEPARATE), "laplace-normal")
    seen = torch.tensor([True, False, True, False]).expand_as(made.batch.x)
    gaps = replace(made.batch, observed=seen)
    start = torch.zeros(len(gaps), 2).double()
    mode = GaussNewton(made.model, gaps, {}, start, torch.ones_like(start))(20)
    torch.testing.assert_close(mode.centre[:, 1], start[:, 1])  # b was not seen: its prior
    torch.testing.assert_close(mode.factor[:, 1, 1], torch.ones(len(gaps)).double())
    assert (mode.samples == 2).all()


def positive(name: str) -> Tensor:
    """Share of positive draws, (observation,), of observations whose modes are apart."""
    made = trained(toy(Sign(), name), 500, asleep=True)
    clear = made.batch.x.mean(-1) > 1.0
    assert int(clear.sum()) >= 10
    draws = made.draws(2000)["a"][:, clear]
    apart = (draws.abs() - made.batch.x.mean(-1)[clear]).abs() < 4 * SCALE / 2
    assert float(apart.double().mean()) > 0.9
    return (draws > 0).double().mean(0)


def test_the_flow_covers_both_modes() -> None:
    """Trained on simulations, as all fits are; by the ELBO alone it would calibrate on one."""
    assert float((positive("structured-flow") - 0.5).abs().max()) < 0.1


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of the correlated toy, its guide not trained: far too wide, and in the wrong place."""
    recipe = Recipe(guide="joint-fullrank")
    entry = Entry(
        name="toy",
        summary="a linear toy",
        system=Linear,
        variants={"toy": Variant(lambda: GreyBox(Linear(DIFFERENCE), (), Gaussian(SCALE)), recipe)},
        source=Source(lambda n, seed: series(Linear(DIFFERENCE), n, seed)),
        usual="toy",
    )
    monkeypatch.setitem(SYSTEMS._known, "toy", entry)
    made = toy(Linear(DIFFERENCE), "joint-fullrank")
    return Run(RunConfig("toy", 4, "toy", recipe), made.model.float(), made.guide.float())


def series(system: System, n: int, seed: int) -> Dataset:
    model = GreyBox(system, (), Gaussian(SCALE)).double()
    return Dataset(observe(model, n, seed).x.numpy(), {"t": TIMES})


def exact(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means (observation, latent) and sds (latent,) of the correlated toy."""
    mean, covariance, _ = Linear(DIFFERENCE).double().exact(torch.as_tensor(data.x))
    return mean.numpy(), covariance.diagonal().sqrt().numpy()


def test_coordinates_are_those_of_the_exact_posterior(run: Run) -> None:
    data = run.entry.source.simulate(5, 5)
    double = Run(run.config, run.model.double(), run.guide.double())
    batch = Batch.of(data, dtype=torch.float64)
    coordinates, start = find_coordinates(double, batch, {}, chains=400)
    mean, covariance, evidence = Linear(DIFFERENCE).double().exact(batch.x)
    torch.testing.assert_close(coordinates.centre, mean, atol=1e-6, rtol=0)
    found = coordinates.factor @ coordinates.factor.mT
    torch.testing.assert_close(found, covariance.expand_as(found), atol=1e-6, rtol=1e-6)
    assert float(start.mean(0).abs().max()) < 0.25  # 400 standard normal numbers: sd 0.05
    assert float((start.std(0) - 1).abs().max()) < 0.2
    torch.testing.assert_close(coordinates.point(coordinates.flat(start)), start)
    latents, log_det = coordinates.latents(start)
    joint = log_joint(double, batch, latents, {}) + log_det
    normal = dist.Normal(0.0, 1.0).log_prob(start).sum(-1)
    torch.testing.assert_close(joint, normal + evidence, atol=1e-5, rtol=0)


def test_chains_start_at_each_mode_as_often_as_its_mass_says() -> None:
    made = trained(toy(Sign(), "structured-flow"), 200, asleep=True)
    clear = made.batch[made.batch.x.mean(-1) > 1.0]
    double = Run(RunConfig("pendulum", 4, "hybrid-told"), made.model, made.guide)
    coordinates, start = find_coordinates(double, clear, {}, chains=1000)
    a = coordinates.latents(start)[0]["a"]
    np.testing.assert_allclose((a > 0).double().mean(0), 0.5, atol=0.08)


@pytest.mark.slow
def test_nuts_finds_the_exact_posterior_from_a_guide_that_did_not(run: Run) -> None:
    data = run.entry.source.simulate(3, 5)
    before = [value.clone() for value in run.guide.state_dict().values()]
    found = nuts(run, data, NutsOptions(chains=2, draws=300, warmup=100))
    mean, sd = exact(data)
    for i, name in enumerate(("a", "b")):
        draws = found["posterior"][name]
        assert draws.dims == ("chain", "draw", "observation")
        assert draws.sizes == {"chain": 2, "draw": 300, "observation": 3}
        np.testing.assert_allclose(draws.mean(("chain", "draw")), mean[:, i], atol=0.25 * sd[i])
        np.testing.assert_allclose(draws.std(("chain", "draw")), sd[i], rtol=0.2)
    assert float(found["convergence"]["r_hat"].max()) < 1.05
    assert float(found["convergence"]["ess_bulk"].min()) > 100
    assert not found["sample_stats"]["diverging"].any()
    assert found["log_likelihood"]["x"].dims == ("chain", "draw", "observation", "time")
    assert found["posterior_predictive"]["x"].sizes["draw"] == 50
    after = run.guide.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_iwae_with_a_thousand_samples_is_the_evidence(run: Run) -> None:
    system = Linear(DIFFERENCE).double()
    made = trained(toy(system, "joint-fullrank"), 500)
    data = Dataset(made.batch.x.numpy(), {"t": TIMES})
    many = PosteriorOptions(draws=1000, predictive_draws=1000)
    found = posterior(Run(run.config, made.model, made.guide), data, many)
    log_weight = found["sample_stats"]["log_weight"]
    assert log_weight.dtype == np.float64
    _, _, evidence = system.exact(made.batch.x)
    np.testing.assert_allclose(compute_evidence(log_weight)["iwae"], evidence.numpy(), atol=0.05)


def test_weights_make_the_draws_exact(run: Run) -> None:
    data = run.entry.source.simulate(8, 5)
    half = trained(toy(Linear(DIFFERENCE), "joint-fullrank"), 60, asleep=True)
    rough = Run(run.config, half.model, half.guide)
    many = PosteriorOptions(draws=4000, predictive_draws=4000)
    drawn = posterior(rough, data, many)
    found = resample(drawn, guide_ratio(drawn), seed=0)
    mean, sd = exact(data)
    for i, name in enumerate(("a", "b")):
        draws = found["posterior"][name]
        np.testing.assert_allclose(draws.mean(("chain", "draw")), mean[:, i], atol=0.1 * sd[i])
        np.testing.assert_allclose(draws.std(("chain", "draw")), sd[i], rtol=0.1)
    assert (found["importance"]["k_hat"] < UNRELIABLE).all()
    weights = np.exp(found["proposal"]["log_weight"])
    np.testing.assert_allclose(weights.sum(("chain", "draw")), 1.0, rtol=1e-6)
    xr.testing.assert_equal(found["proposal"]["a"], drawn["posterior"]["a"])


def test_weights_need_every_draw_decoded(run: Run) -> None:
    data = run.entry.source.simulate(2, 5)
    drawn = posterior(run, data, PosteriorOptions(draws=30, predictive_draws=9))
    with pytest.raises(InputError, match="9 of 30 draws have a weight"):
        guide_ratio(drawn)


def test_refinement_comes_closer_and_leaves_the_run_alone(run: Run) -> None:
    data = run.entry.source.simulate(3, 5)
    both = [*run.model.state_dict().values(), *run.guide.state_dict().values()]
    before = [value.clone() for value in both]
    refined = refine(run, data, RefineOptions(steps=300, learning_rate=1e-2))
    assert all(torch.equal(a, b) for a, b in zip(before, both, strict=True))
    assert refined.after > refined.before + 1
    mean, sd = exact(data)
    found = posterior(refined.run, data, PosteriorOptions(draws=4000))["posterior"]
    for i, name in enumerate(("a", "b")):
        np.testing.assert_allclose(found[name].mean(("chain", "draw")), mean[:, i], atol=0.1)
        np.testing.assert_allclose(found[name].std(("chain", "draw")), sd[i], rtol=0.15)
