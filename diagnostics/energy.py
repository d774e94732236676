"""Energy: a learned Hamiltonian over the two main directions of the states that it moves.

Misleads: conservation says that the solver keeps the mechanics, not that they are right; on a
plane through more dimensions paths cross levels of H. Sources: Hairer, Lubich & Wanner (2006),
chapter IX; Greydanus, Dzamba & Yosinski (2019).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from groundvae.diagnostics.check import INVARIANT, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import PHYSICS, choose
from groundvae.physics.hamiltonian import drift

GRID = 81  # points of the map along each direction
SHOWN = 12  # paths drawn
BEYOND = 1.15  # of the paths' extent, how far the map reaches


@torch.no_grad()
def compute_energy(invariant: Callable[[Tensor], Tensor], states: Tensor) -> xr.Dataset:
    """H on a plane through the mean state along its first two principal directions.

    ``invariant`` is H (...) of states (..., state), ``states`` (observation, time, state) the
    paths of physics alone. ``energy`` (second, first), 1/s; ``path`` (observation, time,
    direction), the states projected on the plane; ``drift`` (observation,), the largest relative
    change of H along each path. ``share`` of the states' variance lies in the plane.
    """
    flat = states.flatten(0, 1)
    centre = flat.mean(0)
    _, sizes, directions = torch.linalg.svd(flat - centre, full_matrices=False)
    plane = directions[:2]
    path = (states - centre) @ plane.T
    reach = BEYOND * path.abs().amax((0, 1))
    first, second = (torch.linspace(-float(r), float(r), GRID) for r in reach)
    at = torch.stack(torch.meshgrid(first, second, indexing="xy"), -1) @ plane + centre
    drifted = drift(invariant(states)).numpy()
    share = float((sizes[:2] ** 2).sum() / (sizes**2).sum())
    return xr.Dataset(
        {
            "energy": (("second", "first"), invariant(at).numpy()),
            "path": (("observation", "time", "direction"), path.numpy()),
            "drift": ("observation", drifted),
        },
        {"first": first.numpy(), "second": second.numpy()},
        {"share": share, "energy_drift": float(drifted.mean())},
    )


@registered
class Energy(Check):
    """Whether the solver keeps H."""

    name, title, subject = "energy", "Energy", "conservation of H"
    alternative = (
        "The learned Hamiltonian on the plane of the first two principal directions of the states "
        "(q, p), with the paths of a few observations."
    )
    caption = (
        "Physics alone moves along levels of H in all of its dimensions; on this plane through "
        "them paths cross levels, unless the plane holds nearly all of the states' variance."
    )
    needs = (INVARIANT,)
    always = True
    good, doubtful = 0.05, 0.2  # relative change of H, median over observations
    measured = "drift"
    sentences = {
        "good": "The solver keeps H: what moves is the mechanics that was learned.",
        "bad": "H changes by {percent:.2g} % along an observation: the steps are too long for "
        "the mechanics that was learned; take a smaller step.",
    }
    size = (5.2, 4.4)
    metric_words = {"energy_drift": "largest relative change of H along an observation, mean"}

    def compute(self, context: Context) -> xr.Dataset:
        assert context.invariant is not None  # a condition
        return compute_energy(context.invariant, context.paths())

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        axes = grid[0, 0]
        energy = result["energy"]
        filled = axes.contourf(result["first"], result["second"], energy, 24, cmap="cividis")
        lines = axes.contour(
            result["first"], result["second"], energy, 12, colors="white", linewidths=0.4
        )
        axes.figure.colorbar(filled, label="H (1/s)").add_lines(lines)
        for pick in choose(result.sizes["observation"], SHOWN):
            along, across = result["path"].isel(observation=pick).values.T
            axes.plot(along, across, color=PHYSICS, lw=0.9, alpha=0.9)
            axes.plot(along[0], across[0], "o", ms=3, color=PHYSICS)
        axes.grid(False)
        axes.set(xlabel="first principal direction of (q, p)", ylabel="second")
        return (
            f"H changes by {100 * self.value(result):.2g} % along a stride; the plane holds "
            f"{100 * result.attrs['share']:.0f} %\nof the states' variance (dots: where they begin)"
        )
