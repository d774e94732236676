"""Figures of the other systems at default settings, one line of JSON a fit.

``python benchmarks/systems.py advection_diffusion galaxy gait [--root DIR] [--variant NAME]
[--seed 0]``. Advection-diffusion is measured on 1,000 fresh fields, galaxy and gait on their
validation data. ``pca_N`` is the SSE of a linear reconstruction from N numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from pendulum import pca_sse
from scipy.stats import spearmanr

from groundvae.cli.source import default_splits
from groundvae.data.advection_diffusion import TIMES, solve
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.inference.fit import fit
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run
from groundvae.models.circle import difference, mean_direction
from groundvae.models.intervention import Change
from groundvae.models.ownfile import find_system
from groundvae.models.systems.gait import Gait
from groundvae.models.values import Values
from groundvae.physics.galaxy import PERIOD
from groundvae.physics.hamiltonian import drift
from groundvae.physics.solver import Leapfrog

FEW = PosteriorOptions(draws=20, predictive_draws=20)
COMPONENTS = {"advection_diffusion": (5, 6), "galaxy": (6, 20), "gait": (15, 21)}
TOGETHER = 100  # fields extrapolated at once: 12 s of them take memory


def extrapolation_error(run: Run, data: Dataset) -> float:
    """MAE from 1 to 12 s of the predictive mean against the noiseless truth."""
    times = TIMES[1] * np.arange(601)
    errors = []
    for start in range(0, len(data), TOGETHER):
        part = data.subset(slice(start, start + TOGETHER))
        predicted = posterior(run, part, FEW, until=12.0)["posterior_predictive"]["x"].values
        error = predicted.mean((0, 1)) - solve(dict(part.truth), times)
        errors.append(np.abs(error[:, len(TIMES) :]).mean())
    return float(np.mean(errors))


def counterfactual_error(run: Run, data: Dataset) -> float:
    """MAE of predictions at twice the diffusion against the noiseless truth at twice its own."""
    predicted = posterior(run, data, FEW, changes={"diffusion": Change(2.0)})
    truth = dict(data.truth) | {"diffusion": 2 * data.truth["diffusion"]}
    mean = predicted["posterior_predictive"]["x"].values.mean((0, 1))
    return float(np.abs(mean - solve(truth, TIMES)).mean())


def energy_drift(run: Run, data: Dataset) -> float:
    """Largest relative change of H over a stride, mean over strides, at the solver's own steps."""
    system = run.model.system
    assert isinstance(system, Gait)
    posterior_means = posterior(run, data, FEW)["posterior"].mean(("chain", "draw"))
    latents = {k: torch.as_tensor(posterior_means[k].values) for k in system.latents.names}
    start = torch.stack([latents[name] for name in system.latents.names], -1)
    with torch.no_grad():
        grid = torch.linspace(0.0, 2.0, 51)
        law = system.field(Values({}, "latent"), Values({}, "input"), ())
        states = Leapfrog(0.04)(law, start, grid)
        return float(drift(system.hamiltonian(states).T).mean())


def band_coverage(run: Run, data: Dataset) -> float:
    """Share of samples inside the central 90 % of the posterior predictive."""
    draws = posterior(run, data)["posterior_predictive"]["x"].values[0]
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(((low <= data.x) & (data.x <= high)).mean())


def axis_figures(run: Run, data: Dataset) -> dict[str, float]:
    """Inferred axes against those measured from the isophotes: angle (degrees) and ratio."""
    if not {"position_angle", "ellipticity"} <= set(data.truth):
        return {}
    draws = posterior(run, data)["posterior"]
    angle = mean_direction(np.concatenate(draws["position_angle"].values), PERIOD)
    off = np.abs(difference(angle, data.truth["position_angle"], PERIOD))
    ratio = 1 - draws["ellipticity"].mean(("chain", "draw")).values
    return {
        "position_angle_median_degrees": float(np.rad2deg(np.median(off))),
        "position_angle_mean_degrees": float(np.rad2deg(off.mean())),
        "axis_ratio_rank_correlation": float(
            spearmanr(ratio, 1 - data.truth["ellipticity"]).statistic
        ),
    }


def measure(name: str, variant: str, seed: int, root: Path | None) -> dict[str, float]:
    """Fit one system at its defaults and measure it."""
    entry = find_system(name)
    splits = default_splits(entry, root if entry.source.splits else None)
    run = fit(name, splits.train, valid=splits.valid, variant=variant, seed=seed)
    data = splits.valid if entry.source.splits else splits.test
    figures = compute_metrics(posterior(run, data))
    figures |= {"fit_seconds": run.fit.seconds, "steps": run.fit.steps}
    figures |= {"noise": float(run.model.noise.scale.detach()), "band90": band_coverage(run, data)}
    if name == "advection_diffusion":
        figures["extrapolation_mae"] = extrapolation_error(run, data)
        if "diffusion" in run.model.latents.names:
            figures["counterfactual_mae"] = counterfactual_error(run, data)
    for components in COMPONENTS[name]:
        figures[f"pca_{components}"] = pca_sse(splits.train, data, components)
    figures["fit_peak_mb"] = run.fit.peak_memory_mb
    if name == "galaxy" and run.model.system.physics:
        figures |= axis_figures(run, data)
    if name == "gait" and run.model.system.physics:
        figures["energy_drift"] = energy_drift(run, data)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+", choices=list(COMPONENTS))
    parser.add_argument("--variant", default="hybrid-reg")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--root", type=Path, default=None)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for system in chosen.systems:
        found = measure(system, chosen.variant, chosen.seed, chosen.root)
        print(
            json.dumps({"system": system, "variant": chosen.variant, "seed": chosen.seed} | found)
        )
