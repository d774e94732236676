"""A path that runs through the data: where a lifted search may begin.

A lifted path need not solve its law, so what is observed of it may stand where it was measured.
This is how multiple shooting begins (Bock & Plitt 1984): laws that run away from a wrong start are
followed from a right one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.path import Path


def shown(system: Dynamics) -> list[int]:
    """The components of the state that are observed as they are, in the order of the channels.

    Empty where what is observed is made of the states.
    """
    if type(system).observe is not Dynamics.observe:
        return []
    names = [system.observed] if isinstance(system.observed, str) else list(system.observed)
    found, place = {}, 0
    for name, size in system.sizes.items():
        found[name] = range(place, place + size)
        place += size
    return [component for name in names for component in found[name]]


def on_data(path: Path, system: Dynamics, batch: Batch) -> Path:
    """The path of n observations with what is ``shown`` of it on their samples.

    Between samples along a line, beyond them at the nearest; where there are none it is as it was,
    or zero where it has left the finite numbers.
    """
    states = torch.where(torch.isfinite(path.states), path.states, 0.0)
    x = batch.x.flatten(2) if batch.x.dim() > 2 else batch.x.unsqueeze(-1)
    there = torch.isfinite(x)
    if batch.observed is not None:
        there &= batch.observed.view(x.shape)
    times, grid = (t.detach().cpu().numpy() for t in (batch.inputs["t"], path.grid))
    for row in range(len(x)):
        at = times if times.ndim == 1 else times[row]
        steps = grid if grid.ndim == 1 else grid[:, row]
        for channel, component in enumerate(shown(system)):
            known = there[row, :, channel].cpu().numpy()
            if known.any():
                values = x[row, :, channel].detach().cpu().numpy()[known]
                on = np.interp(steps, at[known], values)
                states[:, row, component] = torch.as_tensor(on).to(states)
    return replace(path, states=states)
