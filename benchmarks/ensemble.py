"""Several runs of the pendulum as one: what a single fit cannot know, carried as uncertainty.

Takes the folders of runs, as ``paper_table.py`` leaves them, and measures on 1,000 fresh series

- each as it is, and their mixture, with equal weights and with stacked ones;
- each with its correction learned again from simulations of all of them, so that its intervals
  integrate over what the residual might be;
- each with its draws widened until predictive intervals of the validation series hold 90 %.

    python benchmarks/ensemble.py runs/paper_table-runs/hybrid-told-*
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyro
import torch
import tyro
from calibrating import COLUMNS, calibrate, fitting_of
from paper_table import spread
from pyro import poutine
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributions import Independent, Normal

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.affine import TriangularAffine
from groundvae.guides.calibration import EACH, CalibrationLoss
from groundvae.guides.family import START
from groundvae.guides.laplace import LaplaceApproximation, LaplaceGuide
from groundvae.guides.phase import SLEEP, Fitting, Terms
from groundvae.guides.simulation import simulate
from groundvae.inference import arviz as az
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run
from groundvae.inference.stacking import stack, stacking_weights
from groundvae.models.greybox import AUXILIARY, GreyBox, site_value
from groundvae.models.ownfile import find_system

EACH_WORLD = 4000  # simulations of each model
FACTORS = np.linspace(0.5, 2.0, 16)  # by which draws are widened
NOMINAL = 0.9


@dataclass(frozen=True)
class Options:
    """Which runs to measure."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    threads: int = 2


class CalibrationAmongModels(CalibrationLoss):
    """CalibrationLoss on simulations of several fitted models, of which the guide's own is one.

    Their z_aux mean something else in each, so only the physics latents are scored: first in a
    lower triangular factor, their density needs no other coordinate.
    """

    def __init__(self, run: Run, fitting: Fitting, worlds: Sequence[GreyBox]) -> None:
        guide, train = run.guide, fitting.train
        assert isinstance(guide, LaplaceGuide)
        super().__init__(fitting, guide, seen=1)
        self.count = len(guide.latents)
        banks = [simulate(world, train, EACH_WORLD) for world in worlds]
        self.truth = torch.cat([guide.latents.unconstrain(b.latents) for b in banks])
        found = [guide.approximation(b.full) for b in banks]
        names = ("features", "centre", "factor")
        self.bank = LaplaceApproximation(
            *(torch.cat([getattr(f, k) for f in found]) for k in names)
        )

    def __call__(self, batch: Batch, kl_weight: float) -> Terms:
        assert self.weight is not None
        elbo = self._elbo(torch.randint(len(self.train), (len(batch),)))
        rows = torch.randint(len(self.truth), (EACH * len(batch),))
        simulated = -self._log_density(self.bank[rows], self.truth[rows]).mean()
        return {"elbo": elbo, SLEEP: simulated, "loss": simulated - elbo / self.weight}

    def _log_density(self, approximation: LaplaceApproximation, truth: Tensor) -> Tensor:
        n = self.count
        base = self.guide.correction(approximation.features).base_dist
        onto = TriangularAffine(
            approximation.centre[:, :n], approximation.factor[:, :n, :n] * np.exp(-START)
        )
        value = onto.inv(truth)
        physics = Independent(Normal(base.loc[:, :n], base.scale[:, :n]), 1)
        log_density: Tensor = physics.log_prob(value) - onto.log_abs_det_jacobian(value, truth)
        return log_density


def settled_among(run: Run, worlds: Sequence[GreyBox]) -> Run:
    """A copy of the run whose correction has learned from all worlds' simulations."""
    run = replace(run, guide=deepcopy(run.guide))
    fitting = fitting_of(run, Batch.of(find_system("pendulum").source.simulate(*TRAIN)))
    torch.manual_seed(run.config.options.seed)
    with pyro.validation_enabled(False):
        calibrate(fitting, CalibrationAmongModels(run, fitting, worlds))
    return run


@torch.no_grad()
def guide_draws(run: Run, batch: Batch, draws: int = 100) -> Tensor:
    """All latents, unconstrained, (draw, observation, latent)."""
    torch.manual_seed(0)
    with pyro.validation_enabled(False), pyro.plate("draw", draws, dim=-2):
        trace = poutine.trace(run.guide).get_trace(batch)
    return run.guide.flat({name: site_value(trace, name) for name in run.model.latent_names})


@torch.no_grad()
def predictive_coverage(run: Run, batch: Batch, drawn: Tensor, factor: float) -> float:
    """What predictive 90 % intervals hold if draws are moved from their mean by ``factor``."""
    spec = run.model.latents
    centre = drawn.mean(0)
    wide = centre + factor * (drawn - centre)
    physics, _ = spec.constrain(wide[..., : len(spec)])
    auxiliary = wide[..., len(spec) :]
    decoded = run.model.decode(physics, auxiliary, batch.inputs, reduced=False).full
    torch.manual_seed(1)
    seen = run.model.noise.sample(decoded, times=batch.inputs["t"])
    low, high = seen.quantile(torch.tensor([0.5 - NOMINAL / 2, 0.5 + NOMINAL / 2]), 0)
    return float(((batch.x > low) & (batch.x < high)).float().mean())


def widened(run: Run, found: az.InferenceData, factor: float) -> az.InferenceData:
    """The posterior with physics latents moved from their mean by ``factor``, unconstrained."""
    names = run.model.latents.names
    values = {n: torch.from_numpy(found["posterior"][n].values[0]) for n in names}
    flat = run.model.latents.unconstrain(values)
    centre = flat.mean(0)
    wide, _ = run.model.latents.constrain(centre + factor * (flat - centre))
    moved = {n: (found["posterior"][n].dims, wide[n].numpy()[None]) for n in names}
    groups = {group: found[group] for group in found.groups()}
    groups["posterior"] = found["posterior"].assign(moved).drop_vars(AUXILIARY)
    groups.pop("sample_stats")
    result = az.InferenceData(**groups, warn_on_custom_groups=False)
    result.attrs.update(found.attrs)
    return result


def tempered(run: Run, found: az.InferenceData, valid: Dataset) -> tuple[float, az.InferenceData]:
    """The factor whose predictive coverage is nearest to nominal, and the posterior with it."""
    batch = Batch.of(valid)
    drawn = guide_draws(run, batch)  # once: every draw begins with a search of the modes
    coverage = [predictive_coverage(run, batch, drawn, float(f)) for f in FACTORS]
    factor = float(FACTORS[int(np.argmin(np.abs(np.array(coverage) - NOMINAL)))])
    return factor, widened(run, found, factor)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    simulated = find_system("pendulum").source.simulate
    valid, test = simulated(*VALID), simulated(*TEST)
    runs = [load_run(folder) for folder in options.runs]
    table = Table("what", *COLUMNS)

    def show(what: str, found: Sequence[az.InferenceData]) -> None:
        metrics = [compute_metrics(each) for each in found]
        table.add_row(what, *(spread(m[column] for m in metrics) for column in COLUMNS))

    posteriors = [posterior(run, test) for run in runs]
    show("each as it is", posteriors)
    densities = [
        compute_evidence(posterior(run, valid)["sample_stats"]["log_weight"])["iwae"].values
        for run in runs
    ]
    equal = np.full(len(runs), 1 / len(runs))
    for name, weights in (
        ("equal weights", equal),
        ("stacked", stacking_weights(np.stack(densities, 1))),
    ):
        text = " ".join(f"{weight:.2f}" for weight in weights)
        show(f"mixture, {name}: {text}", [stack(posteriors, weights)])
    pairs = [tempered(*each, valid) for each in zip(runs, posteriors, strict=True)]
    text = " ".join(f"{factor:.1f}" for factor, _ in pairs)
    show(f"draws widened by {text}", [found for _, found in pairs])
    worlds = [run.model for run in runs]
    taught = [posterior(settled_among(run, worlds), test) for run in runs]
    show("calibrated on simulations of all", taught)
    Console(width=160).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
