"""Simulation-based calibration: is the guide right about the model's own simulations?

Always beside contraction, since a guide that returns the prior passes. Misleads: it takes the
fitted model to be true, so it can be perfect while the posterior of real data is wrong. Source:
Talts, Betancourt, Simpson, Vehtari & Gelman (2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import LATENTS, Check, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import is_auxiliary, names_of, worst_auxiliary
from groundvae.diagnostics.score import contraction, placement
from groundvae.diagnostics.selftest import SelfTest
from groundvae.diagnostics.style import CYCLE, OTHER, subplots
from groundvae.diagnostics.uniformity import (
    SMALL,
    SURE,
    Uniformity,
    compute_uniformity,
    draw_band,
    draw_line,
    uniform_level,
)
from groundvae.diagnostics.verdict import Level
from groundvae.models.greybox import AUXILIARY

UNINFORMED = 0.1  # contraction below which calibration means nothing
KEYS = ("deviation", "outside", "mean", "spread", "limit")  # of each latent


def compute_calibration(test: SelfTest, prior_variance: Mapping[str, float]) -> xr.Dataset:
    """For each latent the ECDF of its ranks with the band (latent, level), and the contraction
    (latent, observation). Latents without a ``prior_variance`` are parts of ``z_aux``, N(0, 1).
    """
    names = list(test.draws)
    parts = []
    for name in names:
        part = compute_uniformity(placement(test.draws[name], test.truths[name]))
        part["contraction"] = (
            "observation",
            contraction(test.draws[name], prior_variance.get(name, 1.0)),
        )
        for key in KEYS:
            part[key] = part.attrs[key]
        parts.append(part)
    attrs = {k: parts[0].attrs[k] for k in ("observations", "widest")}
    joined = xr.concat(parts, xr.Variable("latent", names), combine_attrs="drop", data_vars="all")
    return joined.assign_coords(latent=names).assign_attrs(attrs)


def one_latent(result: xr.Dataset, name: str) -> xr.Dataset:
    """The uniformity result of one latent."""
    part = result.sel(latent=name)
    return part.assign_attrs({k: part[k].item() for k in KEYS})


@registered
class Calibration(Uniformity, Check):
    """Whether the guide is right where the model is: physics latents, and all of ``z_aux``."""

    name, title, subject = "calibration", "Self-calibration", "self-calibration of {of}"
    alternative = (
        "Distance of simulated latents' ranks from uniform, beside each latent's contraction."
    )
    caption = (
        "The guide, asked about data that the fitted model simulated. It says nothing about "
        "whether the model is right about real data, and a guide that returns the prior passes: "
        "hence the contraction beside it."
    )
    needs = (LATENTS,)
    always = True
    sentences = {
        "good": "Where the fitted model is right, the guide is right about it.",
        "bad": "Even for the model's own simulations the guide is {how}: {mend}.",
        "prior": "It passes only because the guide returns the prior, which is no evidence of "
        "calibration: {mend}, or take data that tell more.",
    }
    size, columns = (6.4, 3.4), 2
    metric_words = {
        "{latent}_sbc_deviation": "largest departure of ranks on the model's own simulations"
    }

    def compute(self, context: Context) -> xr.Dataset:
        found = compute_calibration(context.self_test, context.prior_variance)
        return found.assign_attrs(mend=context.better_guide)

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        names = names_of(result)
        yield from ((n, one_latent(result, n)) for n in names if not is_auxiliary(n))
        for name in worst_auxiliary(result["deviation"]):
            part = one_latent(result, name)
            # The worst of several: the band's width grows like Dvoretzky, Kiefer & Wolfowitz'.
            several = sum(is_auxiliary(n) for n in names)
            wider = np.sqrt(1 + np.log(several) / np.log(2 / (1 - SURE)))
            limit = max(SMALL, float(result.attrs["widest"] * wider))
            yield name, part.assign_attrs(limit=limit, outside=int(part["deviation"] > limit))

    def level(self, part: xr.Dataset, value: float) -> Level:
        level = uniform_level(part)
        return "doubtful" if level == "good" and _collapsed(part) else level

    def case(self, part: xr.Dataset, level: Level) -> str:
        return "prior" if uniform_level(part) == "good" and level == "doubtful" else level

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return by_latent(result["deviation"], "sbc_deviation")

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return subplots(1, self.columns, self.size, width_ratios=(3, 2))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = names_of(result)
        worst = names[int(result["deviation"].values.argmax())]
        left, right = grid[0]
        colors = [OTHER if is_auxiliary(n) else CYCLE[i % len(CYCLE)] for i, n in enumerate(names)]
        draw_band(left, one_latent(result, names[0]))
        for color, name in zip(colors, names, strict=True):
            first = not is_auxiliary(name) or name.endswith("[0]")
            label, faint = name.split("[")[0] * first, is_auxiliary(name)
            draw_line(left, one_latent(result, name), color, label, faint=faint)
        left.set(xlabel="rank of the simulated latent", ylabel="ECDF - uniform")
        median = result["contraction"].median("observation").values
        shown = np.clip(median, -0.5, 1)
        for color, name, value in zip(colors, names, shown, strict=True):
            if is_auxiliary(name):  # however many, in one row
                right.plot(value, AUXILIARY, "o", ms=3, alpha=0.6, color=color)
            else:
                right.barh(name, value, color=color)
        right.invert_yaxis()
        right.set_xlim(min(0.0, float(median.min())), 1)
        right.set_xlabel("contraction (0: the prior)")
        grid[0, 0].figure.legend(
            *left.get_legend_handles_labels(), loc="outside lower center", ncols=4
        )
        return (
            f"{result.attrs['observations']} simulations of the model itself: {worst} departs "
            f"most ({float(result['deviation'].max()):.2f})\n"
            "(grey: 99.9 % of calibrated guides)"
        )


def _collapsed(part: xr.Dataset) -> bool:
    """Whether a physics latent's posterior is the prior."""
    uninformed = not float(part["contraction"].median()) > UNINFORMED
    return uninformed and not is_auxiliary(str(part["latent"].item()))
