"""Before a fit: how fast a law changes beside its data, and whether its step is fine enough."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from groundvae.diagnostics.finding import BAD, DOUBTFUL, GOOD, Finding
from groundvae.models.dynamics import Dynamics
from groundvae.models.stepsize import AGREE, disagreement, gap_of
from groundvae.models.trial import Trial
from groundvae.models.values import Values
from groundvae.physics.errors import tolerant
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.solver import stepped

SLOW, FAST = 0.05, 30.0  # time scales of a law, in those of the data
OVER = 5.0  # the slowest of them, from one sample to the next, that is over in between
STILL = 1e-6  # of the fastest rate, that is none
LATE = 1.0  # spans of the samples, by which they may start after t = 0


def pace(system: Dynamics, trial: Trial) -> Iterator[Finding]:
    """The law's own time scales, from the Jacobian of its rate where draws begin."""
    times = trial.inputs["t"]
    gap, span = gap_of(times), float((times.amax(-1) - times.amin(-1)).max())
    rates = _eigenvalues(system, trial)
    fast = float(rates.abs().amax(-1).median())
    sizes = rates.abs()
    none = sizes <= STILL * sizes.amax(-1, keepdim=True)
    slow = float(sizes.masked_fill(none, torch.inf).amin(-1).median().nan_to_num(posinf=0.0))
    decay = float((-rates.real).amax(-1).median())
    if 0 < fast * span < SLOW:
        yield Finding(
            DOUBTFUL,
            f"the law's fastest change takes about {1 / fast:.3g} units of time and the data last "
            f"{span:.3g}: is t in the units of the law's rates?",
        )
    if fast * gap > FAST:
        stiff = decay > 0.9 * fast
        yield Finding(
            DOUBTFUL,
            f"the law's fastest change takes about {1 / fast:.3g} units of time and samples are "
            f"{gap:.3g} apart: "
            + (
                "it is stiff; put the fast state at its balance, or take solver = 'exponential' "
                "where the law is linear"
                if stiff
                else "is t in the units of the law's rates?"
            ),
        )
    elif slow * gap > OVER:
        yield Finding(
            DOUBTFUL,
            f"even the law's slowest change takes about {1 / slow:.3g} units of time and samples "
            f"are {gap:.3g} apart: is t in the units of the law's rates?",
        )


def late(system: Dynamics, times: Tensor) -> Iterator[Finding]:
    """Whether samples, at times (time,) or (observation, time), start long after the start does."""
    if system.release is None:
        return
    first, span = float(times[..., 0].min()), float((times.amax(-1) - times.amin(-1)).max())
    if first > LATE * span:
        yield Finding(
            DOUBTFUL,
            f"the first sample is at t = {first:.4g} and all of them last {span:.3g}: `initial` "
            "holds at t = 0 and the law is solved from there; where it holds at the first sample, "
            "say release = None in the system, or count t from there",
        )


def _eigenvalues(system: Dynamics, trial: Trial) -> Tensor:
    """Of ``d rate / d state`` (draw, dimension), complex, per s, at the start."""
    z = Values({k: v.detach() for k, v in trial.z.items()}, "latent")
    with torch.enable_grad():
        states = system.begin(z, trial.inputs, trial.lead).detach().requires_grad_()
        time = system.released(trial.inputs["t"])[..., 0]
        rate = system.field(z, trial.inputs, ())(time, states)
        rows = []
        for each in rate.unbind(-1):
            row = None
            if each.requires_grad:
                (row,) = torch.autograd.grad(
                    each.sum(), states, retain_graph=True, allow_unused=True
                )
            rows.append(torch.zeros_like(states) if row is None else row)
    jacobian = torch.stack(rows, -2).double().nan_to_num(0.0, 0.0, 0.0)
    return torch.linalg.eigvals(jacobian)


def fineness(system: Dynamics, trial: Trial) -> Iterator[Finding]:
    """Whether the solver has settled at its step."""
    if system.solver is None:
        step, error = system.step_for(trial)
        if error > AGREE:
            yield Finding(
                BAD,
                f"at a step of {step:.3g}, {100 * error:.2g} % of the data's spread are still the "
                "solver's error: the law is stiff or jumps; put fast states at their balance, "
                "smooth the jumps, or narrow the priors",
            )
        else:
            yield Finding(GOOD, f"the law is solved at steps of {step:.3g} at most")
        return
    solver = stepped(system.method)
    if not isinstance(solver, FixedStep):
        return
    given, kind = system.solver, type(solver)

    def solved(step: float) -> Tensor:
        system.solver = kind(step)
        with tolerant(), torch.no_grad():
            return system.outcomes(trial.z, trial.inputs, (), trial.lead, 1)[0].observed

    try:
        error = disagreement(solved, solver.step, trial.spread)
    finally:
        system.solver = given
    if error > AGREE:
        yield Finding(
            DOUBTFUL,
            f"a step of {solver.step:.3g} is too coarse for the law ({100 * error:.2g} % of the "
            "data's spread): take a smaller one, or leave the solver to the data (solver = None)",
        )
