"""Solvers: order of convergence, conservation laws, grids and failures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from groundvae.physics.errors import NonFiniteError
from groundvae.physics.pendulum import energy, gravity
from groundvae.physics.solver import (
    RK4,
    Dopri5,
    Euler,
    Leapfrog,
    Midpoint,
    ParallelAdjoint,
    Solver,
    solve,
    step_grid,
)

FIXED = [Euler, Midpoint, RK4, Leapfrog]


def swing(omega: float, friction: float = 0.0):
    """The field of a pendulum with friction."""
    pull = gravity(torch.tensor(omega, dtype=torch.float64))

    def field(time: Tensor, state: Tensor) -> Tensor:
        theta, velocity = state.unbind(-1)
        return torch.stack([velocity, pull(theta) - friction * velocity], -1)

    return field


def released(theta0: float) -> Tensor:
    return torch.tensor([theta0, 0.0], dtype=torch.float64)


def error(solver: Solver, friction: float) -> float:
    times = torch.linspace(0, 2, 5, dtype=torch.float64)
    field = swing(2.0, friction)
    exact = solve(field, released(1.0), times, Dopri5(rtol=1e-12, atol=1e-12))
    return float((solve(field, released(1.0), times, solver) - exact).abs().max())


@pytest.mark.parametrize("friction", [0.0, 0.7])
@pytest.mark.parametrize("kind", FIXED)
def test_order_of_convergence(kind: type[Euler], friction: float) -> None:
    steps = [0.1, 0.05, 0.025, 0.0125]
    errors = [error(kind(step), friction) for step in steps]
    logs = torch.tensor([[math.log(s), math.log(e)] for s, e in zip(steps, errors, strict=True)])
    centred = logs - logs.mean(0)
    slope = float((centred[:, 0] * centred[:, 1]).sum() / (centred[:, 0] ** 2).sum())
    assert slope == pytest.approx(kind.order, abs=0.25)


@pytest.mark.parametrize("omega", [0.8, 2.0, 3.5])
def test_small_swings_have_the_period_of_the_harmonic_oscillator(omega: float) -> None:
    period = 2 * math.pi / omega
    times = torch.linspace(0, period, 33, dtype=torch.float64)
    path = solve(swing(omega), released(1e-3), times, RK4(0.01))
    torch.testing.assert_close(path[-1], path[0], rtol=0, atol=1e-8)
    half = path[16, 0]
    assert float(half) == pytest.approx(-1e-3, rel=1e-6)


def drift(solver: Solver) -> float:
    times = torch.linspace(0, 100, 2001, dtype=torch.float64)
    path = solve(swing(2.0), released(1.0), times, solver)
    levels = energy(path, torch.tensor(2.0, dtype=torch.float64))
    return float((levels - levels[0]).abs().max() / levels[0])


def test_energy_is_bounded_by_leapfrog_and_lost_or_gained_by_euler() -> None:
    assert drift(Leapfrog(0.05)) < 5e-3
    assert drift(RK4(0.05)) < 1e-3
    assert drift(Euler(0.05)) > 1.0


def test_leapfrog_runs_backwards() -> None:
    field = swing(2.0)
    times = torch.linspace(0, 3, 61, dtype=torch.float64)
    end = solve(field, released(1.0), times, Leapfrog(0.05))[-1]
    back = solve(field, end * torch.tensor([1.0, -1.0]), times, Leapfrog(0.05))[-1]
    torch.testing.assert_close(back, released(1.0) * torch.tensor([1.0, -1.0]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", FIXED)
def test_uneven_times_cost_no_accuracy(kind: type[Euler]) -> None:
    even = torch.arange(0, 2.001, 0.01, dtype=torch.float64)
    picked = torch.tensor([0, 3, 50, 51, 120, 200])
    field = swing(2.0, 0.3)
    full = solve(field, released(1.0), even, kind(0.01))
    torch.testing.assert_close(
        solve(field, released(1.0), even[picked], kind(0.01)), full[picked], atol=1e-9, rtol=1e-9
    )


@pytest.mark.parametrize("kind", [*FIXED, Dopri5])
def test_a_single_time_gives_the_state_back(kind: type[Euler]) -> None:
    state = released(0.5)
    path = solve(swing(1.0), state, torch.zeros(1, dtype=torch.float64), kind())
    assert torch.equal(path, state.unsqueeze(0))


@pytest.mark.parametrize("kind", FIXED)
def test_stage_times_are_where_the_field_is_evaluated(kind: type[Euler]) -> None:
    asked: list[float] = []

    def spy(time: Tensor, state: Tensor) -> Tensor:
        asked.append(float(time))
        return -state

    times = torch.tensor([0.0, 0.1, 0.13, 0.2])
    solve(spy, torch.ones(2), times, kind(0.05))
    stages = kind(0.05).stage_times(times)
    assert len(stages) == len(torch.unique(stages))
    for time in asked:
        assert float((stages - time).abs().min()) < 1e-6


def forced(state: Tensor, solver: Solver, times: Tensor) -> tuple[Tensor, ...]:
    """The path of a forced oscillator, and its gradient in start, stiffness and phases."""
    torch.manual_seed(3)
    stiffness = torch.rand(4, dtype=torch.float64, requires_grad=True)
    phase = torch.rand(4, dtype=torch.float64, requires_grad=True)

    def field(time: Tensor, at: Tensor) -> Tensor:
        position, velocity = at.unbind(-1)
        force = torch.cos(5 * time + phase) - stiffness * torch.sin(position) - 0.3 * velocity
        return torch.stack([velocity, force], -1)

    path = solve(field, state, times, solver)
    weights = torch.rand(path.shape, dtype=torch.float64)
    return path, *torch.autograd.grad((weights * path).sum(), [state, stiffness, phase])


@pytest.mark.parametrize("kind", [Euler, Midpoint, RK4])
def test_the_parallel_adjoint_is_the_gradient_of_the_steps(kind: type[Euler]) -> None:
    state = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    for times in ([0.0, 0.3, 0.31, 1.0], [0.0, 0.04]):
        grid = torch.tensor(times, dtype=torch.float64)
        expected = forced(state, kind(0.05), grid)
        for a, b in zip(forced(state, ParallelAdjoint(kind(0.05)), grid), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_parallel_adjoint_leaves_no_graph_where_none_is_needed() -> None:
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert not solve(swing(2.0), released(1.0), times, ParallelAdjoint()).requires_grad
    with torch.no_grad():
        moving = released(1.0).requires_grad_()
        assert not solve(swing(2.0), moving, times, ParallelAdjoint()).requires_grad


def test_the_parallel_adjoint_names_what_diverges() -> None:
    start = torch.tensor([[0.0, 0.0], [50.0, 50.0]], requires_grad=True)
    with pytest.raises(NonFiniteError, match=r"sample 1 is not finite from t = "):
        solve(lambda t, y: y**3, start, torch.linspace(0, 2, 20), ParallelAdjoint(Euler(0.1)))


def test_the_parallel_adjoint_has_no_second_derivative() -> None:
    start = torch.tensor([1.0, 0.0], requires_grad=True)
    path = solve(swing(2.0), start.double(), torch.linspace(0, 1, 11).double(), ParallelAdjoint())
    (first,) = torch.autograd.grad(path[-1, 0] ** 2, start, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_steps_end_on_every_requested_time() -> None:
    times = torch.tensor([0.0, 0.07, 0.1, 0.35])
    grid, requested = step_grid(times, 0.05)
    assert torch.equal(grid[requested], times)
    assert float(torch.diff(grid).max()) <= 0.05 * (1 + 1e-3)


def test_a_diverging_solution_names_sample_and_time() -> None:
    def field(time: Tensor, state: Tensor) -> Tensor:
        return state**3

    state = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    with pytest.raises(NonFiniteError, match=r"sample 1 is not finite from t = "):
        solve(field, state, torch.linspace(0, 2, 20), Euler(0.1))
