"""The pendulum's data and decoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.data.pendulum import NOISE, RANGES, TIMES, simulate, solve
from groundvae.models.greybox import GreyBox
from groundvae.models.residuals import Network, Residual, Waves
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.pendulum import Pendulum
from groundvae.physics.solver import RK4, Dopri5, Leapfrog, Midpoint, ParallelAdjoint, Solver

AUXILIARY = 4
VARIANTS = SYSTEMS["pendulum"].variants
BY_GRADIENT = [name for name, v in VARIANTS.items() if v.recipe.guide != "modes"]
WAVES = {"auxiliary": AUXILIARY, "units": "stiffness"}


def latents(n: int = 5, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "omega": (0.5 + 3 * torch.rand(n)).to(dtype),
        "theta0": (3 * torch.rand(n) - 1.5).to(dtype),
    }


def solved_by(solver: Solver | None = None) -> Pendulum:
    system = Pendulum()
    if solver is not None:
        system.solver = solver
    return system


def hybrid(
    dynamics: Residual | None = None, *more: Residual, solver: Solver | None = None
) -> GreyBox:
    torch.manual_seed(1)
    residuals = (dynamics or Waves("velocity", **WAVES), *more)  # type: ignore[arg-type]
    return GreyBox(solved_by(solver), residuals).double()


def decoding(model: GreyBox) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters of a decoder: all but the noise's."""
    return [(k, v) for k, v in model.named_parameters() if not k.startswith("noise.")]


def on_observation(auxiliary: int = AUXILIARY) -> Network:
    return Network("observation", ("theta", "velocity"), auxiliary=auxiliary)


def z_aux(n: int = 5, parts: int = 1) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(n, parts * AUXILIARY, dtype=torch.float64)


def grid(*times: float) -> dict[str, Tensor]:
    return {"t": torch.tensor(times, dtype=torch.float64)}


EVEN = {"t": torch.as_tensor(TIMES)}


def test_simulated_series_obey_the_stated_law() -> None:
    truth = {k: v[:3] for k, v in simulate(3, seed=4).truth.items()}
    together = solve(truth, TIMES)
    for i in range(3):
        p = {name: float(value[i]) for name, value in truth.items()}

        def field(t: float, y: np.ndarray, p: dict[str, float] = p) -> list[float]:
            force = p["amplitude"] * p["omega"] ** 2 * math.cos(2 * math.pi * p["frequency"] * t)
            return [y[1], force - p["gamma"] * y[1] - p["omega"] ** 2 * math.sin(y[0])]

        alone = solve_ivp(
            field, (0, TIMES[-1]), [p["theta0"], 0.0], t_eval=TIMES, rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(together[i], alone.y[0], atol=1e-7)


def test_simulation_has_the_stated_ranges_and_noise() -> None:
    data = simulate(400, seed=5)
    for name, (low, high) in RANGES.items():
        assert low <= data.truth[name].min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < data.truth[name].max() <= high
    noise = data.x - solve(dict(data.truth), TIMES)
    assert noise.std() == pytest.approx(NOISE, rel=0.05)


def test_physics_alone_is_the_frictionless_pendulum() -> None:
    z = latents()
    truth = {name: value.numpy() for name, value in z.items()}
    zeros = np.zeros(5)
    exact = solve(truth | {"gamma": zeros, "amplitude": zeros, "frequency": zeros}, TIMES)
    decoded = VARIANTS["physics-only"].build().decode(z, None, EVEN)
    np.testing.assert_allclose(decoded.full.numpy(), exact, atol=1e-4)
    assert decoded.physics is not None
    assert torch.equal(decoded.full, decoded.physics)


def test_a_harmonic_residual_with_the_true_coefficients_is_the_true_force() -> None:
    """The wave, the friction and the scaling with omega squared are what they say."""
    system = hybrid()
    truth = {k: np.array([v]) for k, v in [("omega", 2.4), ("theta0", 0.7)]}
    truth |= {
        k: np.array([v]) for k, v in [("gamma", 0.5), ("amplitude", 12.0), ("frequency", 4.0)]
    }
    (residual,) = system.terms
    assert isinstance(residual, Waves)
    head = residual.network[-1]
    place = math.log(4.0) / math.log(10.0)
    shift = 0.5 * math.log(place / (1 - place))
    amplitude = 12.0 * 2.0**2 / (2 * math.pi * 4.0) ** 2
    with torch.no_grad():
        residual.linear.weight.zero_()
        head.weight.zero_()
        head.bias.copy_(torch.tensor([shift, amplitude, 0.0, 0.5]))
    z = {name: torch.as_tensor(truth[name]) for name in ("omega", "theta0")}
    decoded = system.decode(z, z_aux(1), EVEN)
    np.testing.assert_allclose(decoded.full.detach().numpy(), solve(truth, TIMES), atol=5e-3)


def test_without_a_push_the_hybrid_is_its_physics() -> None:
    system = hybrid()
    (residual,) = system.terms
    assert isinstance(residual, Waves)
    torch.nn.init.zeros_(residual.linear.weight)
    torch.nn.init.zeros_(residual.network[-1].weight)
    decoded = system.decode(latents(), z_aux(), EVEN)
    assert decoded.physics is not None
    torch.testing.assert_close(decoded.full, decoded.physics)


@pytest.mark.parametrize("solver", [RK4(), Leapfrog(0.01), Dopri5()])
def test_reduced_model_does_not_depend_on_the_residual(solver: Solver) -> None:
    system = hybrid(solver=solver)
    alone = GreyBox(solved_by(solver)).decode(latents(), None, EVEN)
    decoded = system.decode(latents(), z_aux(), EVEN)
    assert decoded.physics is not None
    torch.testing.assert_close(decoded.physics, alone.full, atol=1e-5, rtol=0)
    assert float((decoded.full - decoded.physics).detach().abs().max()) > 1e-4


def test_solvers_agree_on_the_hybrid() -> None:
    """On forces of the data's kind, up to 6 Hz; a step of 0.05 s is half a period of 10 Hz."""
    slow = Waves("velocity", highest=4.0, **WAVES)  # type: ignore[arg-type]
    reference = hybrid(slow, solver=Dopri5()).decode(latents(), z_aux(), EVEN).full
    found = hybrid(slow, solver=RK4()).decode(latents(), z_aux(), EVEN).full
    torch.testing.assert_close(found, reference, atol=2e-3, rtol=0)


@pytest.mark.parametrize("waves", [1, 2])
@pytest.mark.parametrize("times", [EVEN, grid(*TIMES[[0, 1, 5]]), grid(0.0, 0.05), grid(0.2)])
def test_the_parallel_adjoint_gives_the_same_gradient(waves: int, times: dict[str, Tensor]) -> None:
    """Of both worlds, whatever a residual tabulates; also where it sees states and features."""
    seen = Network("velocity", ("theta", "velocity", "t"), auxiliary=AUXILIARY, start=1.0)
    sums = Waves("velocity", waves=waves, **WAVES)  # type: ignore[arg-type]
    for residual in (sums, seen):
        found = []
        for solver in (Midpoint(0.05), ParallelAdjoint(Midpoint(0.05))):
            system = hybrid(residual, solver=solver)
            z = {name: value.requires_grad_() for name, value in latents().items()}
            decoded = system.decode(z, z_aux(), times)
            assert decoded.physics is not None
            total = decoded.full.square().sum() + 2 * decoded.physics.square().sum()
            found.append(
                torch.autograd.grad(total, [*z.values(), *(v for _, v in decoding(system))])
            )
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_uneven_times_and_longer_horizons_agree_with_the_even_grid() -> None:
    system = hybrid(solver=RK4(0.01))
    even = system.decode(latents(), z_aux(), EVEN).full
    uneven = system.decode(latents(), z_aux(), grid(*TIMES[[0, 1, 5, 6, 20, 49]])).full
    torch.testing.assert_close(uneven, even[:, [0, 1, 5, 6, 20, 49]], atol=1e-5, rtol=0)
    longer = system.decode(latents(), z_aux(), {"t": torch.arange(0, 10, 0.05).double()}).full
    torch.testing.assert_close(longer[:, :50], even, atol=1e-5, rtol=0)


def test_times_count_from_the_release() -> None:
    system = hybrid(solver=RK4(0.01))
    even = system.decode(latents(), z_aux(), EVEN).full
    late = system.decode(latents(), z_aux(), {"t": EVEN["t"][10:]}).full
    torch.testing.assert_close(late, even[:, 10:], atol=1e-6, rtol=0)
    with pytest.raises(InputError, match=r"before the release"):
        system.decode(latents(), z_aux(), grid(-0.1, 0.0, 0.1))


def test_batched_equals_looped() -> None:
    system = hybrid(None, on_observation())
    together = system.decode(latents(), z_aux(parts=2), EVEN).full
    for i in range(5):
        one = {name: value[i : i + 1] for name, value in latents().items()}
        alone = system.decode(one, z_aux(parts=2)[i : i + 1], EVEN).full
        torch.testing.assert_close(alone[0], together[i], atol=1e-12, rtol=0)


def test_draws_may_stand_in_front_of_the_observations() -> None:
    system = hybrid(None, on_observation())
    stacked = {name: torch.stack([v, v]) for name, v in latents().items()}
    z = z_aux(parts=2)
    twice = system.decode(stacked, torch.stack([z, z]), EVEN)
    once = system.decode(latents(), z, EVEN)
    torch.testing.assert_close(twice.full[1], once.full)
    assert twice.full.shape == (2, 5, 50)
    assert set(once.partial) == {"dynamics", "observation"}


def test_an_observation_residual_sees_state_and_time() -> None:
    """Also one that has no part of z_aux of its own."""
    residual = Network("observation", ("theta", "velocity", "t"), auxiliary=0, start=1.0)
    system = GreyBox(Pendulum(), residual).double()
    decoded = system.decode(latents(), None, EVEN)
    assert decoded.physics is not None
    assert float((decoded.full - decoded.physics).detach().abs().max()) > 1e-3


def test_each_residual_has_its_own_part_of_z_aux() -> None:
    system = hybrid(Waves("velocity", auxiliary=3, units="stiffness"), on_observation(4))
    assert system.auxiliary == 7
    torch.nn.init.normal_(system.terms[1].networks["observation"][-1].weight)  # type: ignore[index]
    z = torch.randn(5, 7, dtype=torch.float64)
    other = z.clone()
    other[:, 3:] += 1.0
    one, two = (system.decode(latents(), part, EVEN).partial for part in (z, other))
    assert torch.equal(one["dynamics"], two["dynamics"])
    assert not torch.equal(one["observation"], two["observation"])


@pytest.mark.parametrize("variant", BY_GRADIENT)
def test_every_variant_decodes_and_reaches_all_its_parameters(variant: str) -> None:
    torch.manual_seed(0)
    system = VARIANTS[variant].build()
    z = {k: v for k, v in latents(3, torch.float32).items() if k in system.latents.names}
    auxiliary = torch.randn(3, system.auxiliary) if system.auxiliary else None
    with torch.no_grad():  # heads that begin at zero hide the layers below them
        for _, parameter in decoding(system):
            parameter.add_(0.01 * torch.randn_like(parameter))
    decoded = system.decode(z, auxiliary, {"t": torch.as_tensor(TIMES, dtype=torch.float32)})
    assert decoded.full.shape == (3, 50)
    if not decoding(system):
        return
    decoded.full.pow(2).sum().backward()
    for name, parameter in decoding(system):
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert float(parameter.grad.abs().max()) > 0, name
