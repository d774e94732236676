"""Energy: a learned Hamiltonian over the two main directions of the states that it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.diagnostics.style import PHYSICS, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded
from groundvae.inference.run import Run
from groundvae.models.gait import Gait
from groundvae.physics.hamiltonian import drift

GOOD, DOUBTFUL = 0.05, 0.2  # relative change of H, median over observations
GRID = 81  # points of the map along each direction
SHOWN = 12  # paths drawn
BEYOND = 1.15  # of the paths' extent, how far the map reaches


def has_energy(run: Run) -> bool:
    """Whether the model moves a state by a Hamiltonian."""
    system = run.model.system
    return isinstance(system, Gait) and system.hamiltonian is not None


@torch.no_grad()
def compute_energy(run: Run, inference_data: az.InferenceData, batch: Batch) -> xr.Dataset:
    """H on a plane through the mean state along its first two principal directions.

    ``energy`` (second, first), 1/s; ``path`` (observation, time, direction), the states of the
    posterior means projected on the plane; ``drift`` (observation,), the largest relative
    change of H along each path. ``share`` of the states' variance lies in the plane.
    """
    system = cast(Gait, run.model.system)
    hamiltonian = cast(Callable[[Tensor], Tensor], system.hamiltonian)
    means = inference_data["posterior"].mean(("chain", "draw"))
    latents = {k: torch.as_tensor(means[k].values) for k in system.latents.names}
    states = system.path(latents, batch.inputs["t"])  # (observation, time, state)
    flat = states.flatten(0, 1)
    centre = flat.mean(0)
    _, sizes, directions = torch.linalg.svd(flat - centre, full_matrices=False)
    plane = directions[:2]
    path = (states - centre) @ plane.T
    reach = BEYOND * path.abs().amax((0, 1))
    first, second = (torch.linspace(-float(r), float(r), GRID) for r in reach)
    at = torch.stack(torch.meshgrid(first, second, indexing="xy"), -1) @ plane + centre
    return xr.Dataset(
        {
            "energy": (("second", "first"), hamiltonian(at).numpy()),
            "path": (("observation", "time", "direction"), path.numpy()),
            "drift": ("observation", drift(hamiltonian(states)).numpy()),
        },
        {"first": first.numpy(), "second": second.numpy()},
        {"share": float((sizes[:2] ** 2).sum() / (sizes**2).sum())},
    )


def check_energy(result: xr.Dataset) -> Verdict:
    """Whether the solver keeps H."""
    n = result.sizes["observation"]
    if n < FEWEST:
        return too_few("conservation of H", n, FEWEST, GOOD)
    value = float(result["drift"].median())
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The solver keeps H: what moves is the mechanics that was learned.",
        bad=f"H changes by {100 * value:.2g} % along an observation: the steps are too long for "
        "the mechanics that was learned; take a smaller step.",
    )
    return Verdict("conservation of H", level, meaning, value, GOOD, n)


def plot_energy(result: xr.Dataset) -> Figure:
    """The map of H with a few strides on it."""
    n = result.sizes["observation"]
    picks = np.linspace(0, n - 1, min(n, SHOWN)).astype(int)
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 4.4))
        energy = result["energy"]
        filled = axes.contourf(result["first"], result["second"], energy, 24, cmap="cividis")
        lines = axes.contour(
            result["first"], result["second"], energy, 12, colors="white", linewidths=0.4
        )
        figure.colorbar(filled, label="H (1/s)").add_lines(lines)
        for pick in picks:
            along, across = result["path"].isel(observation=pick).values.T
            axes.plot(along, across, color=PHYSICS, lw=0.9, alpha=0.9)
            axes.plot(along[0], across[0], "o", ms=3, color=PHYSICS)
        axes.grid(False)
        axes.set_xlabel("first principal direction of (q, p)")
        axes.set_ylabel("second")
        drifted = float(result["drift"].median())
        axes.set_title(
            f"H changes by {100 * drifted:.2g} % along a stride; the plane holds "
            f"{100 * result.attrs['share']:.0f} %\nof the states' variance (dots: where they begin)"
        )
    return figure
