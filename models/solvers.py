"""Solvers by name: what carries a state along a law's field. An object may stand for a name."""

from __future__ import annotations

from collections.abc import Callable

from groundvae.data.errors import InputError
from groundvae.models.registry import Registry
from groundvae.physics.solver import (
    RK4,
    Dopri5,
    Euler,
    Exponential,
    Leapfrog,
    Midpoint,
    ParallelAdjoint,
    Solver,
)

SOLVERS: Registry[Callable[[], Solver]] = Registry("solver", "groundvae.solvers")
"""What makes each, at its usual step; most often its class."""
for _name, _kind in (
    ("euler", Euler),
    ("midpoint", Midpoint),
    ("rk4", RK4),
    ("leapfrog", Leapfrog),
    ("dopri5", Dopri5),
    ("exponential", Exponential),
    ("parallel_adjoint", ParallelAdjoint),
):
    SOLVERS.register(_name)(_kind)


def solver_of(solver: str | Solver) -> Solver:
    """A solver by its name, or itself.

    Raises:
        InputError: there is none of that name, or what is there is no solver.

    >>> solver_of("rk4")
    RK4(step=0.05)

    """
    found = SOLVERS[solver]() if isinstance(solver, str) else solver
    if not callable(found) or not hasattr(found, "stage_times"):
        raise InputError(
            f"the solver {solver!r} is a {type(found).__name__}, expected an object that is called "
            "with a field, a state and times, and has stage_times"
        )
    return found
