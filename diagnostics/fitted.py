"""What was fitted, and what it says of the population: the tables of a report."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd
import xarray as xr

from groundvae.data.errors import InputError
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.summary import summarize
from groundvae.inference.discovery import discovered
from groundvae.inference.run import versions

PARTS = 5  # of the observations, sorted by a quantity


def facts(context: Context) -> pd.DataFrame:
    """Data, model, noise, recipe, time and versions."""
    run, x = context.run, context.x
    config, fit, model = run.config, run.fit, run.model
    grid = " x ".join(str(size) for size in x.shape[1:])
    missing = int(np.isnan(x).sum())
    unit = f" {context.unit}" if context.unit and context.unit != "1" else ""
    scale = float(model.noise.scale.detach().mean())
    terms = [f"{type(r).__name__} on {', '.join(r.acts_on)}" for r in model.terms]
    rows = {
        "System": run.entry.summary,
        "Trained on": config.trained_on or "data handed over in Python",
        "Diagnosed on": f"{len(x)} observations of {grid} samples, {missing} of them missing",
        "Known": (type(model.system).__doc__ or type(model.system).__name__).splitlines()[0],
        "Residual": " + ".join(terms) or "none: physics alone",
        "Noise": f"{type(model.noise).__name__}, {scale:.2g}{unit}",
        "x =": f"F[{', '.join(model.latent_names)}] + noise",
        "Variant, guide, loss": ", ".join(
            filter(None, (config.variant, config.how.guide, config.how.loss))
        ),
        "Fit": f"{fit.steps} steps in {fit.seconds:.0f} s, {fit.stop}",
    }
    rows |= {f"Version of {k}": str(v) for k, v in versions().items()}
    with suppress(InputError):  # it has none
        rows["Found of the unknown"] = "; ".join(str(discovered(run)).splitlines())
    return pd.DataFrame({"What": list(rows), "Value": list(rows.values())})


def population(context: Context) -> pd.DataFrame:
    """Each physics latent over all observations, and of those that are shown, with its prior."""
    found, meanings = context.once(_summary), {z.name: z.meaning for z in context.latents}
    rows = []
    for name in map(str, found):
        low, middle, high = np.nanquantile(found[name].sel(statistic="mean"), [0.05, 0.5, 0.95])
        spread = float(np.nanmedian(found[name].sel(statistic="sd")))
        row: dict[str, object] = {
            "Latent": name,
            "Unit": context.units[name],
            "Meaning": meanings[name],
            "Prior": context.run.config.priors.get(name, ""),
            "Median of the means": middle,
            "Nine tenths of them": f"{low:.3g} .. {high:.3g}",
            "Median sd": spread,
        }
        row |= {f"Observation {i}": _interval(found[name], i) for i in context.show}
        rows.append(row)
    return pd.DataFrame(rows)


def estimates(context: Context) -> dict[str, np.ndarray]:
    """Of each physics latent its mean and the ends of its 90 % interval, (observation,) by name."""
    found, ends = context.once(_summary), {"mean": "{}", "low": "{}_low", "high": "{}_high"}
    return {
        column.format(name): found[name].sel(statistic=statistic).values
        for name in found
        for statistic, column in ends.items()
    }


def _summary(context: Context) -> xr.Dataset:
    """``summarize`` of the physics latents that the posterior holds, for ``Context.once``."""
    posterior = context.inference_data["posterior"]
    return summarize(posterior[[n for n in context.latents.names if n in posterior]])


def _interval(found: xr.DataArray, i: int) -> str:
    low, high = (float(found.sel(statistic=end)[i]) for end in ("low", "high"))
    return f"{low:.3g} .. {high:.3g}"


def groups(context: Context, observed: xr.Dataset) -> pd.DataFrame:
    """Where does it fail? Fifths of the observations, sorted by each latent and each input."""
    n = len(context.x)
    by = {name: context.draws[name].mean(0) for name in context.latents.names}
    constant = context.inference_data["constant_data"]
    inputs = context.run.model.system.inputs
    by |= {
        k: constant[k].values for k in inputs if constant.get(k, constant).dims == ("observation",)
    }
    inside = {
        z.name: np.abs(2 * (z.draws < z.truth).mean(0) - 1) < 0.9 for z in context.known
    }  # of the central interval
    rows = []
    for name, values in by.items():
        for part in np.array_split(np.argsort(values), PARTS) if n >= 4 * PARTS else []:
            row = {
                "Sorted by": name,
                "From": float(values[part[0]]),
                "To": float(values[part[-1]]),
                "Observations": len(part),
                "Bad (%)": 100 * float((observed["verdict"].values[part] == "bad").mean()),
            }
            if "misfit" in observed:
                row["Misfit (sd)"] = float(np.median(observed["misfit"].values[part]))
            row |= {f"{k}: 90 % hold (%)": 100 * float(v[part].mean()) for k, v in inside.items()}
            rows.append(row)
    return pd.DataFrame(rows)
