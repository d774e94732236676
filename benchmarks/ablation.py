"""What made the pendulum's posterior accurate and calibrated: one change at a time.

Every row fits the default model with one choice undone, and is measured on 1,000 fresh series.
Restartable: rows that are in the CSV already are not fitted again.

    python benchmarks/ablation.py --seeds 0 1 --out runs/ablation.csv
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import pyro.distributions as dist
import torch
import tyro
from paper_table import read, write
from pendulum import counterfactual_mae
from rich.console import Console
from rich.table import Table
from torch import Tensor

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.pendulum import TIMES
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.inference.fit import fit
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.ownfile import find_system
from groundvae.models.residuals import Network, Residual, Waves
from groundvae.models.systems.pendulum import Pendulum
from groundvae.physics.solver import RK4, Midpoint, ParallelAdjoint, Solver

COLUMNS = ("reconstruction_sse", "omega_mae", "omega_crps", "omega_cov50", "omega_cov90")


class LowRankNoise(Gaussian):
    """Noise correlated in time: three learned patterns beside the white noise (one grid only).

    What the model misses is then no independent error of each sample. Source: Kennedy & O'Hagan
    (2001), Bayesian calibration of computer models.
    """

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.patterns = torch.nn.Parameter(0.1 * scale * torch.randn(len(TIMES), 3))

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        return dist.Normal(mean, (self.scale**2 + self.patterns.square().sum(-1)).sqrt())

    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> dist.TorchDistribution:
        white = (self.scale**2).expand_as(mean)
        return dist.LowRankMultivariateNormal(mean, self.patterns.expand(*mean.shape, 3), white)


class MotionNoise(Gaussian):
    """Heteroscedastic noise: a series that is bent more sharply is reconstructed less well."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.share = torch.nn.Parameter(torch.tensor(-4.0))  # of the bend, log

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        bend = mean.diff(n=2, dim=-1).pow(2).mean(-1, keepdim=True)
        scale = (self.scale**2 + self.share.exp() ** 2 * bend).sqrt()
        return dist.Normal(mean, scale.expand_as(mean))


class OwnNoise(Gaussian):
    """Heteroscedastic noise: each series has a scale of its own, which is integrated out.

    Its precision has a gamma prior of mean ``scale**-2`` whose shape is learned: a series is then
    a multivariate t. Source: Gelman et al. (2013), Bayesian Data Analysis, section 17.2.
    """

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.log_freedom = torch.nn.Parameter(torch.tensor(2.0))

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        return dist.StudentT(2 + self.log_freedom.exp(), mean, self.scale)

    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> dist.TorchDistribution:
        factor = self.scale * torch.eye(mean.shape[-1], dtype=mean.dtype)
        return dist.MultivariateStudentT(2 + self.log_freedom.exp(), mean, factor)


def waves(count: int = 1, units: str = "stiffness") -> Waves:
    """The default residual; without ``units`` its force is not scaled with omega squared."""
    return Waves("velocity", waves=count, units=units)


def free(states: tuple[str, ...]) -> list[Residual]:
    """Neural residuals, in the dynamics, of ``states``, and on the angle; z_aux is halved."""
    return [
        Network("velocity", (*states, "t"), auxiliary=2, scale=10.0),
        Network("observation", ("theta", "velocity", "t"), auxiliary=2, pairs=40, width=128),
    ]


def observed(auxiliary: int, *more: str) -> list[Residual]:
    """The default residual, and one on the angle that sees the state."""
    sees = ("theta", "velocity", *more)
    return [waves(), Network("observation", sees, auxiliary=auxiliary, pairs=8, width=32)]


@dataclass(frozen=True)
class Ablation:
    """One choice undone: options of the fit, penalties, guide, residual, noise or precision."""

    options: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    residuals: Callable[[], Sequence[Residual]] = lambda: [waves()]
    solver: Solver | None = None
    guide: str = "laplace-normal"
    guide_options: Mapping[str, int] = field(default_factory=dict)
    noise: Callable[[float], Gaussian] = Gaussian
    double: bool = False


# A neural residual starts silent: simulations of it teach nothing, and it has to learn awake.
AWAKE_ALONE = {"sleep": 0.0, "calibrate": 0.0, "steps": 800, "learning_rate": 4e-3, "warmup": 0.6}
PPC = (0.0, 1e-4, 1e-2, 1.0)  # weights of R_PPC; the second is the default
ABLATIONS: Mapping[str, Ablation] = {
    "default": Ablation(),
    "no calibration": Ablation({"calibrate": 0.0}),
    "half the sleep": Ablation({"sleep": 4.0}),
    "no sleep": Ablation({"sleep": 0.0}),
    "no sleep, no calibration": Ablation({"sleep": 0.0, "calibrate": 0.0}),
    "no sleep, no calibration, 1600 steps, rate 0.004, warm-up 0.6": Ablation(
        {"sleep": 0.0, "calibrate": 0.0, "steps": 1600, "learning_rate": 4e-3, "warmup": 0.6}
    ),
    "hybrid_simulation 1": Ablation(weights={"hybrid_simulation": 1.0}),
    "hybrid_simulation 0": Ablation(weights={"hybrid_simulation": 0.0}),
    "physics_simulation 0.1": Ablation(weights={"physics_simulation": 0.1}),
    **{f"ppc {a:g}": Ablation(weights={"ppc": a}) for a in PPC if a != PPC[1]},
    **{
        f"ppc {a:g}, neural residuals of {seen}": Ablation(
            AWAKE_ALONE,
            weights={"ppc": a},
            residuals=partial(free, states),
            guide="structured-normal",
        )
        for seen, states in (
            ("velocity and time", ("velocity",)),
            ("angle, velocity and time", ("theta", "velocity")),
        )
        for a in PPC
    },
    "structured-normal guide": Ablation(guide="structured-normal"),
    "structured-normal guide, noise correlated in time": Ablation(
        guide="structured-normal", noise=LowRankNoise
    ),
    "structured-normal guide, noise grows with the motion": Ablation(
        guide="structured-normal", noise=MotionNoise
    ),
    "noise of each series its own": Ablation(noise=OwnNoise),
    "guide of width 256": Ablation(guide_options={"width": 256}),
    "midpoint at 0.05 s": Ablation(solver=ParallelAdjoint(Midpoint(0.05))),
    "RK4 at 0.025 s": Ablation(solver=ParallelAdjoint(RK4(0.025))),
    "float64": Ablation(double=True),
    "residual on the observation, sees z": Ablation(residuals=lambda: observed(2)),
    "residual on the observation, state and time": Ablation(residuals=lambda: observed(0, "t")),
    "force not scaled with omega squared": Ablation(residuals=lambda: [waves(units="")]),
    "two waves": Ablation(residuals=lambda: [waves(2)]),
}


@dataclass(frozen=True)
class Options:
    """Which rows to measure."""

    out: Path = Path("runs/ablation.csv")
    seeds: tuple[int, ...] = (0,)
    threads: int = 2
    only: tuple[str, ...] = tuple(ABLATIONS)


def fitted(ablation: Ablation, seed: int) -> Run:
    """The default fit with its options, residuals, guide and weights replaced."""
    entry = find_system("pendulum")
    usual = entry.variant().recipe
    recipe = replace(
        usual,
        weights=ablation.weights,
        guide=ablation.guide,
        guide_options=ablation.guide_options,
        options=replace(usual.options, seed=seed, **ablation.options),  # type: ignore[arg-type]
        double=ablation.double,
    )
    torch.manual_seed(seed)
    system = Pendulum()
    if ablation.solver is not None:
        system.solver = ablation.solver
    model = GreyBox(system, ablation.residuals(), ablation.noise(0.1))  # rad, where it starts
    simulate = entry.source.simulate
    return fit(model, simulate(*TRAIN), valid=simulate(*VALID), recipe=recipe)


def measure(name: str, seed: int) -> dict[str, float]:
    run = fitted(ABLATIONS[name], seed)
    test = find_system("pendulum").source.simulate(*TEST)
    metrics = compute_metrics(posterior(run, test))
    row = {column: metrics[column] for column in COLUMNS}
    row["mae_at_twice_omega"] = counterfactual_mae(run, test)
    return row | {"best_elbo": run.fit.best_elbo, "fit_seconds": run.fit.seconds}


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    rows = read(options.out)
    for seed, name in product(options.seeds, options.only):
        if any((row["ablation"], row["seed"]) == (name, str(seed)) for row in rows):
            continue
        found = {key: f"{value:.4g}" for key, value in measure(name, seed).items()}
        rows.append({"ablation": name, "seed": str(seed)} | found)
        write(rows, options.out)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    Console(width=180).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
