"""The loss: the ELBO against exact evidence, each penalty against a value made by hand."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.optim import Adam
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import build_guide
from groundvae.guides.guide import UNMIXED, Guide
from groundvae.guides.population import Population
from groundvae.guides.simulation import Simulation, Simulator
from groundvae.inference.elbo import PaperELBO, RegularizedELBO
from groundvae.inference.penalty import (
    PENALTIES,
    PPC,
    HybridSimulation,
    PhysicsSimulation,
    PhysicsSimulationMean,
    Step,
    Unmix,
)
from groundvae.inference.preset import build_loss
from groundvae.models.function import Function
from groundvae.models.greybox import Decoded, GreyBox
from groundvae.models.latent import LatentSpec
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.ownfile import find_system
from groundvae.models.residuals import Residual, Seen
from groundvae.models.systems import SYSTEMS
from groundvae.models.values import Values
from groundvae.physics.errors import NonFiniteError

LOADINGS = torch.tensor([[1.0, 0.5, -0.3], [0.2, -1.0, 0.8]], dtype=torch.float64)
SIGMA = 0.7


class Nought(Function):
    """Three numbers of which nothing is known."""

    physics = False

    def predict(self, z: Values, inputs: Values) -> Tensor:
        return torch.zeros(3, dtype=torch.float64)


class Linear(Residual):
    """x = z W + noise: everything about it is known exactly."""

    def __init__(self) -> None:
        super().__init__("observation", (), 2)

    def add(self, seen: Seen, states: Values) -> Tensor:
        return seen.auxiliary @ LOADINGS


class ExactGuide(Guide):
    """The posterior of ``Linear``, its standard deviations multiplied by ``stretch``."""

    auxiliary = 2

    def __init__(self, stretch: float = 1.0) -> None:
        super().__init__()
        self.latents = LatentSpec()
        self.stretch = nn.Parameter(torch.tensor(stretch, dtype=torch.float64))

    @property
    def population(self) -> Population:
        return Population({})

    def forward(self, batch: Batch) -> None:
        precision = torch.eye(2, dtype=torch.float64) + LOADINGS @ LOADINGS.T / SIGMA**2
        covariance = torch.linalg.inv(precision)
        mean = batch.x @ LOADINGS.T @ covariance / SIGMA**2
        factor = torch.linalg.cholesky(covariance) * self.stretch
        with pyro.plate("observation", len(batch), dim=-1):
            pyro.sample("z_aux", dist.MultivariateNormal(mean, scale_tril=factor))


def toy() -> tuple[GreyBox, Batch]:
    torch.manual_seed(0)
    model = GreyBox(Nought(), Linear(), Gaussian(SIGMA)).double()
    return model, Batch(torch.randn(40, 3, dtype=torch.float64))


def log_evidence(x: Tensor) -> Tensor:
    covariance = LOADINGS.T @ LOADINGS + SIGMA**2 * torch.eye(3, dtype=torch.float64)
    return dist.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(x)


def test_elbo_of_the_exact_posterior_is_the_log_evidence() -> None:
    model, batch = toy()
    loss = RegularizedELBO().loss(model, ExactGuide(), batch)
    assert -loss == pytest.approx(float(log_evidence(batch.x).mean()), abs=1e-6)


@pytest.mark.parametrize("stretch", [0.5, 2.0])
def test_elbo_of_a_wrong_posterior_is_lower_by_its_divergence(stretch: float) -> None:
    model, batch = toy()
    loss = RegularizedELBO()
    draws = [-loss.loss(model, ExactGuide(stretch), batch) for _ in range(600)]
    divergence = 2 * (0.5 * (stretch**2 - 1) - math.log(stretch))
    expected = float(log_evidence(batch.x).mean()) - divergence
    assert sum(draws) / len(draws) == pytest.approx(expected, abs=0.05)


def test_missing_samples_add_nothing_to_the_likelihood() -> None:
    model, batch = toy()
    seen = torch.ones_like(batch.x, dtype=torch.bool)
    seen[:, 2] = False
    torch.manual_seed(1)
    terms = RegularizedELBO().terms(
        model,
        ExactGuide(),
        Batch(batch.x, {}, seen),
    )
    torch.manual_seed(1)
    z = poutine.trace(ExactGuide()).get_trace(batch).nodes["z_aux"]["value"]
    first_two = dist.Normal((z @ LOADINGS)[:, :2], SIGMA).log_prob(batch.x[:, :2]).sum(-1)
    assert float(terms["nll"].detach()) == pytest.approx(-float(first_two.detach().mean()))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_paper_fixes_the_noise_of_every_system_at_its_own(system: str) -> None:
    model, loss = SYSTEMS[system].build("hybrid-reg"), build_loss("paper")
    loss.prepare(model)
    assert float(model.noise.scale) == pytest.approx(loss.sigma)
    assert not model.noise.log_scale.requires_grad


def test_svi_updates_model_and_guide() -> None:
    model, batch = toy()
    guide = ExactGuide(2.0)
    before = float(guide.stretch), float(model.noise.log_scale)
    svi = SVI(model, guide, Adam({"lr": 0.05}), loss=RegularizedELBO())
    losses = [svi.step(batch) for _ in range(60)]
    assert abs(float(guide.stretch) - 1) < abs(before[0] - 1)
    assert float(model.noise.log_scale) != before[1]
    assert sum(losses[-10:]) < sum(losses[:10])


def pendulum(variant: str = "hybrid-told", n: int = 6) -> tuple[GreyBox, Guide, Batch]:
    entry = find_system("pendulum")
    batch = Batch.of(entry.source.simulate(n, 0))
    torch.manual_seed(0)
    model = entry.build(variant)
    guide = build_guide("structured-normal", model, 50)
    guide.prepare(batch)
    return model, guide, batch


def step_with(
    decoded: Decoded | None = None,
    unmixed: Tensor | None = None,
    simulation: Simulation | None = None,
) -> Step:
    model, guide, batch = pendulum()
    model_trace, guide_trace = poutine.Trace(), poutine.Trace()
    model_trace.add_node("_RETURN", type="return", name="_RETURN", value=decoded)
    guide_trace.add_node(UNMIXED, type="sample", name=UNMIXED, value=unmixed)
    step = Step(model, guide, batch, Simulator(model))
    step.__dict__ |= {"guide_trace": guide_trace, "model_trace": model_trace}
    if simulation is not None:
        step.__dict__["simulation"] = simulation
    return step


def constant(value: float) -> Tensor:
    return torch.full((6, 50), value)


def test_ppc_with_one_residual_is_the_squared_distance() -> None:
    step = step_with(Decoded(full=constant(3.0), physics=constant(1.0)))
    assert float(PPC()(step)) == pytest.approx(50 * 4.0)
    sigma = float(step.model.noise.scale.detach())
    assert float(PPC(by_noise=True)(step)) == pytest.approx(50 * 4.0 / (2 * sigma**2))


def test_ppc_with_two_residuals_is_the_papers_mean_of_four() -> None:
    partial = {"dynamics": constant(2.0), "observation": constant(5.0)}
    step = step_with(Decoded(constant(7.0), constant(1.0), partial))
    four = (2 - 1) ** 2 + (5 - 1) ** 2 + (7 - 2) ** 2 + (7 - 5) ** 2
    assert float(PPC()(step)) == pytest.approx(50 * four / 4)


def test_unmix_is_in_the_units_of_the_data_and_stops_the_gradient() -> None:
    physics = constant(0.4).requires_grad_()
    _, guide, batch = pendulum()
    unmixed = guide.encoder.read(batch.with_x(constant(0.1)))
    step = step_with(Decoded(constant(0.0), physics), unmixed)
    value = Unmix()(step)
    assert float(value) == pytest.approx(50 * 0.3**2, rel=1e-4)
    assert not value.requires_grad


def simulated() -> Simulation:
    _, _, batch = pendulum()
    latents = {
        "omega": torch.linspace(0.5, 3.0, 6),
        "theta0": torch.linspace(-1.0, 1.0, 6),
        "z_aux": torch.linspace(-1, 1, 24).reshape(6, 4),
    }
    return Simulation(latents, batch, batch.with_x(batch.x + 0.1))


def test_physics_simulation_is_the_negative_log_density_of_the_true_latents() -> None:
    step, simulation = step_with(simulation=simulated()), simulated()
    guide = step.guide
    assert simulation.physics is not None
    described = guide.encoder.describe(guide.encoder.read(simulation.physics))
    factor = guide.physics_family(described)  # type: ignore[operator]
    target = guide.latents.unconstrain(simulation.latents)
    scale = factor.base_dist.scale
    by_hand = (
        0.5 * ((target - factor.mean) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)
    )
    assert float(PhysicsSimulation()(step)) == pytest.approx(
        float(by_hand.sum(-1).mean()), rel=1e-5
    )


def test_physics_simulation_of_the_paper_is_the_squared_error_of_the_mean() -> None:
    step, simulation = step_with(simulation=simulated()), simulated()
    guide = step.guide
    assert simulation.physics is not None
    mean = guide.physics_factor(simulation.physics).mean  # type: ignore[union-attr]
    low, high = torch.tensor([0.392, -2.0]), torch.tensor([3.53, 2.0])
    value = low + (high - low) * torch.sigmoid(mean)
    truth = torch.stack([simulation.latents["omega"], simulation.latents["theta0"]], -1)
    expected = (value - truth).pow(2).sum(-1).mean()
    assert float(PhysicsSimulationMean()(step)) == pytest.approx(float(expected), rel=1e-4)


def test_hybrid_simulation_is_the_chain_rule_of_the_structured_guide() -> None:
    step, simulation = step_with(simulation=simulated()), simulated()
    guide, z = step.guide, simulation.latents
    canonical = guide.encoder.read(simulation.full)
    log_q = guide.auxiliary_family(guide.encoder.describe(canonical)).log_prob(z["z_aux"])  # type: ignore[operator]
    unmixed = canonical + guide.unmixer(torch.cat([canonical, z["z_aux"]], -1))  # type: ignore[operator]
    factor = guide.physics_family(guide.encoder.describe(unmixed))  # type: ignore[operator]
    log_q = log_q + factor.log_prob(guide.latents.unconstrain(z))
    for name, low, high in (("omega", 0.392, 3.53), ("theta0", -2.0, 2.0)):
        share = (z[name] - low) / (high - low)
        log_q = log_q - torch.log((high - low) * share * (1 - share))
    assert float(HybridSimulation()(step)) == pytest.approx(-float(log_q.mean()), rel=1e-5)


@pytest.mark.parametrize("name", list(PENALTIES))
def test_each_penalty_is_weighted_logged_and_switched_off_alone(name: str) -> None:
    model, guide, batch = pendulum()
    torch.manual_seed(3)
    loss = RegularizedELBO(PENALTIES, dict.fromkeys(PENALTIES, 0.0) | {name: 2.5})
    value = loss.loss(model, guide, batch)
    torch.manual_seed(3)
    terms = loss.terms(model, guide, batch)
    assert set(terms) == {"nll", "kl", name}
    record = {key: float(term.detach()) for key, term in terms.items()}
    expected = record["nll"] + record["kl"] + 2.5 * record[name]
    assert value == pytest.approx(expected, rel=1e-5)
    assert record[name] != 0.0


def test_paper_preset_weighs_as_the_public_code_does() -> None:
    model, guide, batch = pendulum()
    loss = build_loss("paper")
    assert isinstance(loss, PaperELBO)
    terms = loss.terms(model, guide, batch)
    variance = float(model.noise.scale.detach()) ** 2
    expected = 2 * variance * float(terms["nll"]) + 1.01 * variance * float(terms["kl"])
    expected += 1e-2 * float(terms["ppc"]) + 1e-3 * float(terms["unmix"])
    expected += 1e-1 * float(terms["physics_simulation"])
    assert float(loss.weigh(terms, model)) == pytest.approx(expected, rel=1e-5)


def test_one_guide_pass_and_one_decode_serve_all_terms() -> None:
    model, guide, batch = pendulum()
    calls = {"guide": 0, "decode": 0}
    guide.register_forward_hook(lambda *_: calls.update(guide=calls["guide"] + 1))
    decode = model.decode
    model.decode = lambda *a, **k: (  # type: ignore[method-assign]
        calls.update(decode=calls["decode"] + 1),
        decode(*a, **k),
    )[1]
    weights = dict.fromkeys(PENALTIES, 1.0) | {"physics_simulation": 0.0, "hybrid_simulation": 0.0}
    RegularizedELBO(PENALTIES, weights).loss(model, guide, batch)
    assert calls == {"guide": 1, "decode": 1}


@pytest.mark.parametrize("variant", ["nn-only", "nn-solver", "physics-only"])
def test_penalties_that_do_not_apply_are_left_out(variant: str) -> None:
    model, guide, batch = pendulum(variant)
    loss = RegularizedELBO(PENALTIES)
    terms = loss.terms(model, guide, batch)
    assert not {"ppc", "unmix"} & set(terms)
    assert "hybrid_simulation" in terms


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"no penalty 'pcp', known: ppc"):
        build_loss("regularized", {"pcp": 1.0})
    with pytest.raises(InputError, match=r"no loss preset 'elbow', known: exact"):
        build_loss("elbow")


def test_a_term_that_is_not_finite_is_named() -> None:
    model, guide, batch = pendulum()
    with torch.no_grad():
        model.noise.log_scale.fill_(torch.nan)
    with pyro.validation_enabled(False), pytest.raises(NonFiniteError, match=r"'nll'"):
        RegularizedELBO().loss(model, guide, batch)
