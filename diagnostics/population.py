"""The population: what the priors allow, what there is, and what each observation says.

Misleads: where the posteriors are too narrow, so that they hold less than they claim, the
population is too wide by as much.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from groundvae.diagnostics.check import PHYSICS_LATENTS, Check, Condition, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import BAND, FULL, PHYSICS, labelled, panels
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference.generation import generate

DRAWS = 4000
BINS = 40


@registered
class PopulationDrawn(Check):
    """Prior, population and posteriors of each physics latent together."""

    name, title, subject = "population", "Population", "population of {of}"
    alternative = "Histograms of each latent: prior, learned population and posterior means."
    caption = (
        "The population is the distribution whose convolution with each observation's uncertainty "
        "explains the data of the fit. Posterior means are wider where data are noisy and priors "
        "wide. Used as a prior for the observations it was learned from, data count twice."
    )
    needs = (
        Condition(lambda c: c.run.population is not None),
        PHYSICS_LATENTS,
    )
    always = True
    sentences = {"bad": "Not judged: it is what the data were found to be drawn from."}

    def compute(self, context: Context) -> xr.Dataset:
        spec = context.latents
        made = generate(context.run, DRAWS)["prior"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            prior = {z.name: z.prior.sample(torch.Size([DRAWS])).cpu().numpy() for z in spec}
        means = context.means
        found = {}
        for z in spec:
            found[f"{z.name}_prior"] = ("draw", prior[z.name])
            found[f"{z.name}_population"] = ("draw", made[z.name].values[0])
            found[f"{z.name}_posterior"] = ("observation", z.wrapped(means[z.name]).numpy())
        units = {f"unit_{z.name}": z.unit for z in spec}
        return xr.Dataset(found, attrs={"names": list(spec.names), **units})

    def verdicts(self, result: xr.Dataset) -> list[Verdict]:
        return []

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(len(result.attrs["names"]), (2.6, 2.2))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = result.attrs["names"]
        for name, axes in zip(names, grid.flat, strict=False):
            values = {k: result[f"{name}_{k}"].values for k in ("prior", "population", "posterior")}
            every = np.concatenate([values["population"], values["posterior"], values["prior"]])
            low, high = np.quantile(every, [0.001, 0.999])
            bins = np.linspace(low, high, BINS).tolist()
            axes.hist(values["prior"], bins, density=True, color=BAND, alpha=0.35, label="prior")
            for kind, colour in (("posterior", PHYSICS), ("population", FULL)):
                label = "posterior means" if kind == "posterior" else kind
                axes.hist(
                    values[kind], bins, density=True, histtype="step", lw=1.3, color=colour,
                    label=label,
                )  # fmt: skip
            unit = result.attrs[f"unit_{name}"]
            axes.set(xlabel=labelled(name, "" if unit == "1" else unit), yticks=[])
        handles, labels = grid.flat[0].get_legend_handles_labels()
        grid.flat[0].figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return "What the priors allow, what there is, and what the observations say"
