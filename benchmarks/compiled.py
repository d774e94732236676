"""Whether fusing a step of the pendulum's solver pays: as it is, and compiled by torch.compile.

Times a solve of 400 series (200, with and without residual) and its gradient, and what compiling
costs before the first of them. Both give the same path and gradient, which is checked.
torch.compile needs a C++ compiler.

    python benchmarks/compiled.py --threads 1
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import tyro
from profile_step import milliseconds
from rich.console import Console
from rich.table import Table
from torch import Tensor

from groundvae.data.pendulum import TIMES

SERIES = 400


@dataclass(frozen=True)
class Options:
    """How to time."""

    threads: int = 1
    repeats: int = 20


Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def step(
    angle: Tensor, velocity: Tensor, pull: Tensor, braking: Tensor, forces: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of RK4 (3/8 rule), as in torchdiffeq; ``forces`` (4, series) at its stages."""
    h = float(TIMES[1] - TIMES[0])

    def push(stage: int, at: Tensor, moving: Tensor) -> Tensor:
        return forces[stage] - pull * torch.sin(at) - braking * moving

    v1, a1 = velocity, push(0, angle, velocity)
    v2 = velocity + h * a1 / 3
    a2 = push(1, angle + h * v1 / 3, v2)
    v3 = velocity + h * (a2 - a1 / 3)
    a3 = push(2, angle + h * (v2 - v1 / 3), v3)
    v4 = velocity + h * (a1 - a2 + a3)
    a4 = push(3, angle + h * (v1 - v2 + v3), v4)
    onward = angle + h * (v1 + 3 * (v2 + v3) + v4) / 8
    return onward, velocity + h * (a1 + 3 * (a2 + a3) + a4) / 8


def solve(step: Step, given: dict[str, Tensor]) -> Tensor:
    """Angles (time, series)."""
    angle, velocity = given["theta0"], torch.zeros(SERIES)
    path = [angle]
    for forces in given["forces"].unbind(0):
        angle, velocity = step(angle, velocity, given["pull"], given["braking"], forces)
        path.append(angle)
    return torch.stack(path)


def gradients(step: Step, given: dict[str, Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(solve(step, given).square().sum(), list(given.values())))


def drawn() -> dict[str, Tensor]:
    """What the steps read, for series like the pendulum's."""
    torch.manual_seed(0)
    stages = torch.linspace(0, float(TIMES[-1]), 4 * (len(TIMES) - 1)).view(-1, 4, 1)
    given = {
        "theta0": torch.rand(SERIES) - 0.5,
        "pull": 1 + 8 * torch.rand(SERIES),
        "braking": 0.8 * torch.rand(SERIES),
        "forces": 20 * torch.cos(2 * math.pi * (3 + 3 * torch.rand(SERIES)) * stages),
    }
    return {name: value.requires_grad_() for name, value in given.items()}


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    given = drawn()
    expected = gradients(step, given)
    compiled = torch.compile(step, fullgraph=True)
    begin = time.perf_counter()
    found = gradients(compiled, given)
    seconds = time.perf_counter() - begin
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    table = Table("step", "compilation, s", "solve and gradient, ms")
    for name, each, cost in (("as it is", step, 0.0), ("compiled", compiled, seconds)):
        spent = milliseconds(partial(gradients, each, given), options.repeats)
        table.add_row(name, f"{cost:.1f}", f"{spent:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
