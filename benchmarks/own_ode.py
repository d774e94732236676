"""What a law of one's own costs, beside the built-in pendulum of the same size.

The same equation, written as a user does (no solver, prior of another shape), and ours: a step of
the usual fit (evidence: the model and its sensitivities near a mode) and a gradient of the ELBO.
Processor time, one thread, both in turn, medians; ``ratio`` is own over built-in.

    python benchmarks/own_ode.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import tyro

import groundvae as gv
from groundvae.data.dataset import Dataset
from groundvae.guides.modes import ModeGuide
from groundvae.inference.fit import prepare
from groundvae.models.dynamics import Dynamics
from groundvae.models.ownfile import find_system
from groundvae.models.systems.pendulum import Pendulum


@dataclass(frozen=True)
class Options:
    """How to time."""

    n: int = 100
    repeats: int = 15


class Own(Dynamics):
    """The pendulum, by somebody who has read the tutorial."""

    omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(g / l)")
    start = gv.Latent(gv.Uniform(-2.0, 2.0), unit="rad", meaning="angle at first")
    states = ("angle", "velocity")
    observed = "angle"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"angle": z.start, "velocity": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"angle": state.velocity, "velocity": -(z.omega**2) * torch.sin(state.angle)}


def moves(system: Dynamics, data: Dataset) -> Callable[[], object]:
    """A step of the search that a fit by evidence makes."""
    run = prepare(gv.GreyBox(system, gv.Unknown("velocity")), data)
    assert isinstance(run.guide, ModeGuide)
    return run.guide.start(run.batch(data)).renew


def gradients(system: Dynamics, data: Dataset) -> Callable[[], object]:
    """The gradient of the decoded observations by all latents."""
    model = gv.GreyBox(system, gv.Waves("velocity"))
    batch = prepare(model, data).batch(data)
    generator = torch.Generator().manual_seed(0)
    physics = {z.name: torch.full((len(data),), 1.0, requires_grad=True) for z in model.latents}
    auxiliary = torch.randn(len(data), model.auxiliary, generator=generator).requires_grad_()

    def step() -> None:
        model.decode(physics, 0.1 * auxiliary, batch.inputs).full.square().sum().backward()

    return step


def ratios(n: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Processor time (s) of a step of one's own and of ours, by what the step is."""
    simulate = find_system("pendulum").source.simulate
    assert simulate is not None
    data = simulate(n, 1)
    found = {}
    for name, kind in (("evidence", moves), ("gradient", gradients)):
        steps = kind(Own(), data), kind(Pendulum(), data)
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(repeats + 2):
            for step, kept in zip(steps, seconds, strict=True):
                start = time.process_time()
                step()
                if turn > 1:
                    kept.append(time.process_time() - start)
        found[name] = median(seconds[0]), median(seconds[1])
    return found


def main(options: Options) -> None:
    torch.set_num_threads(1)
    for name, (own, ours) in ratios(options.n, options.repeats).items():
        print(f"{name}: own {1e3 * own:.1f} ms, built-in {1e3 * ours:.1f} ms, {own / ours:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
