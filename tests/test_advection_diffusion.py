"""Advection-diffusion: its physics, data, solver, decoder, encoder, and a tiny fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from groundvae.data.advection_diffusion import POINTS, SPACING, TIMES, simulate, solve
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.encoder import FieldEncoder
from groundvae.inference.fit import prepare
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.models.greybox import GreyBox
from groundvae.models.intervention import Change
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.residuals import Stencil
from groundvae.models.residuals.residual import Seen
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.advection_diffusion import AdvectionDiffusion
from groundvae.models.values import Values
from groundvae.physics.advection_diffusion import Ends, curvature, half_sine
from groundvae.physics.exponential import Exponential
from groundvae.physics.solver import RK4

SYSTEM = "advection_diffusion"
AUXILIARY = 4
VARIANTS = SYSTEMS[SYSTEM].variants
BY_GRADIENT = [name for name, v in VARIANTS.items() if v.recipe.guide != "modes"]
EVEN = {"t": torch.as_tensor(TIMES, dtype=torch.float32)}


def decoding(model: GreyBox) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters of a decoder: all but the noise's."""
    return [(k, v) for k, v in model.named_parameters() if not k.startswith("noise.")]


def diffuse(y: Tensor, diffusion: float, spacing: float, until: float, ends: Ends) -> Tensor:
    times = torch.tensor([0.0, until], dtype=y.dtype)
    solver = RK4(step=0.2 * spacing**2 / diffusion)
    return solver(lambda t, y: diffusion * curvature(y, spacing, ends), y, times)[-1]


def test_reflecting_ends_conserve_mass() -> None:
    y = torch.rand(30, dtype=torch.float64)
    later = diffuse(y, 0.05, 0.1, 1.0, "reflecting")
    assert float((later - y).abs().max()) > 0.1
    torch.testing.assert_close(later.sum(), y.sum(), rtol=1e-12, atol=0)


def test_a_sine_with_fixed_ends_decays_at_the_analytic_rate_to_second_order() -> None:
    diffusion, until = 0.1, 1.0
    errors = []
    for points in (10, 20, 40):
        places = torch.arange(1, points + 1, dtype=torch.float64) / (points + 1)
        y = torch.sin(math.pi * places)
        later = diffuse(y, diffusion, 1 / (points + 1), until, "absorbing")
        exact = math.exp(-diffusion * math.pi**2 * until) * y
        errors.append(float((later - exact).abs().max()) * (points + 1) ** 2)
    assert errors[0] == pytest.approx(errors[2], rel=0.05)  # error times points^2 is constant


def test_simulated_fields_obey_the_stated_equations() -> None:
    truth = {k: v[:2] for k, v in simulate(2, seed=4).truth.items()}
    fields = solve(truth, TIMES)
    for i in range(2):
        d, c = truth["diffusion"][i], truth["speed"][i]

        def rate(t: float, y: np.ndarray, d: float = d, c: float = c) -> np.ndarray:
            wide = np.pad(y, 1)
            second = (wide[2:] - 2 * y + wide[:-2]) / SPACING**2
            return np.asarray(d * second + c * (wide[2:] - wide[:-2]) / (2 * SPACING))

        start = truth["magnitude"][i] * np.sin(np.pi * np.arange(POINTS) / (POINTS - 1))
        alone = solve_ivp(
            rate, (0, TIMES[-1]), start, "DOP853", t_eval=TIMES, rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(fields[i], alone.y.T, atol=1e-9)


def test_the_same_seed_gives_the_same_file() -> None:
    np.testing.assert_array_equal(simulate(3, seed=1).x, simulate(3, seed=1).x)


@pytest.mark.parametrize("times", [torch.linspace(0, 1, 21), torch.tensor([0.0, 0.1, 0.15, 0.9])])
def test_the_exponential_solver_is_the_limit_of_small_steps(times: Tensor) -> None:
    diffusion = torch.tensor([[0.02], [0.2]])

    def field(time: Tensor, y: Tensor) -> Tensor:
        return diffusion * curvature(y, 0.1)

    start = half_sine(torch.tensor([1.0, 2.0]), 20)
    exact, stepped = Exponential()(field, start, times), RK4(0.005)(field, start, times)
    assert exact.shape == (len(times), 2, 20)
    torch.testing.assert_close(exact, stepped, atol=2e-5, rtol=0)


def test_the_model_with_the_true_parameters_is_the_data() -> None:
    truth = simulate(4, seed=2).truth
    system = GreyBox(AdvectionDiffusion(), Stencil("y", auxiliary=1))
    weights = torch.as_tensor(truth["speed"] / (2 * SPACING), dtype=torch.float32)[:, None]
    system.terms[0].weights = torch.nn.Sequential(torch.nn.Identity())
    latents = {k: torch.as_tensor(truth[k], dtype=torch.float32) for k in system.latents.names}
    decoded = system.decode(latents, weights, EVEN)
    np.testing.assert_allclose(decoded.full, solve(truth, TIMES), atol=1e-5)
    assert decoded.physics is not None
    still = solve(truth | {"speed": np.zeros(4)}, TIMES)
    np.testing.assert_allclose(decoded.physics, still, atol=1e-5)


def test_an_odd_stencil_does_not_change_the_mass_inside() -> None:
    residual = Stencil("y", auxiliary=AUXILIARY)
    y = torch.zeros(3, 11)
    y[:, 4:7] = torch.rand(3, 3)
    seen = Seen(torch.randn(3, AUXILIARY), Values({}, "latent"), Values({}, "input"))
    push = residual.bind(seen)(torch.tensor(0.0), Values({"y": y}, "state"))["y"]
    assert float(push.detach().abs().max()) > 0
    torch.testing.assert_close(push.sum(-1), torch.zeros(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("variant", BY_GRADIENT)
def test_every_variant_decodes_and_reaches_all_its_parameters(variant: str) -> None:
    torch.manual_seed(0)
    system = VARIANTS[variant].build()
    known = {"diffusion": torch.tensor([0.02, 0.15]), "magnitude": torch.tensor([0.5, 1.5])}
    z = {name: known[name] for name in system.latents.names}
    auxiliary = torch.randn(2, system.auxiliary) if system.auxiliary else None
    decoded = system.decode(z, auxiliary, EVEN)
    assert decoded.full.shape == (2, 50, 20)
    assert (decoded.physics is not None) == system.system.physics
    parameters = decoding(system)
    if parameters:
        decoded.full.pow(2).sum().backward()
    for name, parameter in parameters:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_later_times_give_the_same_fields_whatever_stands_between() -> None:
    torch.manual_seed(0)
    system = VARIANTS["hybrid-told"].build()
    z = {"diffusion": torch.tensor([0.1]), "magnitude": torch.tensor([1.0])}
    auxiliary = torch.randn(1, AUXILIARY)
    long = system.decode(z, auxiliary, {"t": 0.02 * torch.arange(601)}).full
    late = system.decode(z, auxiliary, {"t": torch.tensor([5.0, 12.0])}).full
    torch.testing.assert_close(long[:, [250, 600]], late, atol=2e-5, rtol=0)


def test_times_before_the_start_are_refused() -> None:
    z = {"diffusion": torch.tensor([0.1]), "magnitude": torch.tensor([1.0])}
    with pytest.raises(InputError, match="before the initial time"):
        VARIANTS["physics-only"].build().decode(z, None, {"t": torch.tensor([-0.1, 0.0])})


def prepared(n: int = 60) -> tuple[FieldEncoder, Dataset]:
    data = simulate(n, seed=1)
    encoder = FieldEncoder(50, 20)
    encoder.prepare(Batch.of(data))
    return encoder, data


def test_the_encoder_reads_gaps_and_other_times_as_it_reads_whole_fields() -> None:
    encoder, data = prepared()
    whole = encoder.read(Batch.of(data))
    gappy = data.x.copy()
    gappy[np.random.default_rng(0).random(gappy.shape) < 0.3] = np.nan
    filled = encoder.read(Batch.of(Dataset(gappy, data.coordinates)))
    other = 0.025 * np.arange(60)  # other steps, and beyond the end
    elsewhere = Dataset(solve(dict(data.truth), other).astype(np.float32), {"t": other})
    again = encoder.read(Batch.of(elsewhere))
    for found in (filled, again):
        assert found.shape == whole.shape
        assert float((found - whole)[:, :4].abs().max()) < 0.1


def test_the_encoder_learns_its_patterns_from_gappy_data_too() -> None:
    encoder, data = prepared()
    gappy = data.x.copy()
    gappy[np.random.default_rng(0).random(gappy.shape) < 0.2] = np.nan
    other = FieldEncoder(50, 20)
    other.prepare(Batch.of(Dataset(gappy, data.coordinates)))
    overlap = torch.einsum("tck,tcl->kl", encoder.patterns[..., :3], other.patterns[..., :3])
    assert float(torch.linalg.svdvals(overlap).min()) > 0.99


def test_a_tiny_fit_infers_intervenes_and_extrapolates() -> None:
    options = FitOptions(steps=4, batch_size=10, validate_every=2)
    train, valid = simulate(30, seed=1), simulate(10, seed=2)
    run = prepare("advection_diffusion", train, recipe=Recipe(options=options))
    run.fit = optimize(
        run.model, run.guide, run.loss(), Batch.of(train), Batch.of(valid), run.config.options
    )
    assert run.fit.stop == "finished"
    few = PosteriorOptions(draws=8, predictive_draws=4)
    seen = posterior(run, valid, few)
    done = posterior(run, valid, few, changes={"diffusion": Change(2.0)}, until=2.0)
    ratio = done["posterior"]["diffusion"] / seen["posterior"]["diffusion"]
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-5)
    predicted = done["posterior_predictive"]["x"]
    assert predicted.dims[-2:] == ("time", "space")
    assert predicted.shape[-2:] == (101, 20)
    assert bool(np.isfinite(predicted).all())
