"""Accuracy per second of the solvers on the pendulum's own data law.

The true forced damped pendulum is solved with the true parameters at each solver's step; the
error is against SciPy's DOP853 at 1e-10. Observation noise is 0.01 rad: a solver whose error
is far below it is accurate enough. Prints a table; seconds are medians of repeated solves of
200 series with gradients, as one training step needs them.

    python benchmarks/solvers.py
"""

from __future__ import annotations

import math
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from groundvae.data.pendulum import TIMES, simulate, solve
from groundvae.physics.pendulum import gravity
from groundvae.physics.solver import (
    RK4,
    Dopri5,
    Euler,
    Leapfrog,
    Midpoint,
    ParallelAdjoint,
    Solver,
)

SERIES = 200
REPEATS = 5
SOLVERS: list[Solver] = [
    Euler(0.05),
    Euler(0.01),
    Midpoint(0.05),
    Midpoint(0.025),
    Leapfrog(0.05),
    Leapfrog(0.025),
    RK4(0.05),
    ParallelAdjoint(RK4(0.05)),
    RK4(0.025),
    Dopri5(1e-5, 1e-6),
]


def true_field(truth: dict[str, Tensor]):
    """The law of the data as a field of torch tensors."""
    pull = gravity(truth["omega"])
    strength = truth["amplitude"] * truth["omega"] ** 2
    angular = 2 * math.pi * truth["frequency"]

    def field(t: Tensor, state: Tensor) -> Tensor:
        theta, velocity = state.unbind(-1)
        force = strength * torch.cos(angular * t) - truth["gamma"] * velocity
        return torch.stack([velocity, force + pull(theta)], -1)

    return field


def measure(solver: Solver) -> tuple[float, float, float]:
    """Mean and largest absolute error (rad), and seconds a solve with its gradient."""
    data = simulate(SERIES, seed=3)
    exact = torch.as_tensor(solve(dict(data.truth), TIMES), dtype=torch.float32)
    truth = {name: torch.as_tensor(v, dtype=torch.float32) for name, v in data.truth.items()}
    truth["omega"].requires_grad_()
    times = torch.as_tensor(TIMES, dtype=torch.float32)
    start = torch.stack([truth["theta0"], torch.zeros(SERIES)], -1)
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        theta = solver(true_field(truth), start, times)[..., 0].T
        theta.sum().backward()
        seconds.append(time.perf_counter() - begin)
    error = (theta.detach() - exact).abs()
    return float(error.mean()), float(error.max()), statistics.median(seconds)


def main() -> None:
    torch.set_num_threads(1)
    table = Table("solver", "mean error (rad)", "largest (rad)", "ms a solve and gradient")
    for solver in SOLVERS:
        mean, largest, seconds = measure(solver)
        table.add_row(str(solver), f"{mean:.2e}", f"{largest:.2e}", f"{1000 * seconds:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
