"""Time grids that a guide was not trained on: a search from the prior finds what networks miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import RANGES
from groundvae.guides.catalogue import build_guide
from groundvae.guides.laplace import LaplaceGuide
from groundvae.models.ownfile import find_system

FITTED = 0.05 * np.arange(50)
GRIDS = {
    "coarser": 0.1 * np.arange(25),
    "finer": 0.025 * np.arange(100),
    "shorter": 0.05 * np.arange(25),
    "longer": 0.05 * np.arange(80),
    "uneven": np.append(0.0, np.sort(np.random.default_rng(1).uniform(0, 2.45, 40))),
}
N = 60


def swings(times: np.ndarray) -> tuple[Batch, torch.Tensor]:
    """Pendulums that nothing drives, in noise that the model knows; and their true omega."""
    model = find_system("pendulum").build("physics-only")
    rng = np.random.default_rng(0)
    omega = torch.as_tensor(rng.uniform(*RANGES["omega"], N)).float()
    theta0 = torch.as_tensor(rng.uniform(0.5, 1.5, N) * rng.choice([-1, 1], N)).float()
    data = Dataset(np.zeros((N, len(times)), dtype=np.float32), {"t": times})
    batch = Batch.of(data)
    with torch.no_grad():
        x = model.decode({"omega": omega, "theta0": theta0}, None, batch.inputs).full
    noise = float(model.noise.scale) * rng.normal(size=x.shape)
    return Batch(x + torch.as_tensor(noise).float(), batch.inputs), omega


def untrained() -> LaplaceGuide:
    """A guide whose networks say nothing, with the grid of a fit."""
    model = find_system("pendulum").build("physics-only")
    torch.manual_seed(0)
    guide = build_guide("laplace-normal", model, len(FITTED))
    assert isinstance(guide, LaplaceGuide)
    guide.prepare(swings(FITTED)[0])
    return guide


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS)
def test_modes_are_found_and_their_intervals_hold(grid: str) -> None:
    guide = untrained()
    batch, omega = swings(GRIDS[grid])
    known = guide.encoder.knows(batch)
    assert known.shape == (N,)
    assert not known.any()
    mode = guide._search(batch, *guide._start(batch))
    assert float(mode.far().float().mean()) < 0.05
    names = guide.latents.names
    place = names.index("omega")
    values, _ = guide.latents.constrain(mode.centre)
    assert float((values["omega"] - omega).abs().median()) < 0.05
    true = guide.latents.unconstrain(
        {"omega": omega, "theta0": values["theta0"].clamp(-1.99, 1.99)}
    )[:, place]
    spread = (mode.factor @ mode.factor.mT)[:, place, place].sqrt()
    inside = ((mode.centre[:, place] - true).abs() < 1.645 * spread).float().mean()
    assert 0.78 <= float(inside) <= 0.98


def test_on_the_grid_of_the_fit_nothing_is_searched_anew() -> None:
    guide = untrained()
    batch, _ = swings(FITTED)
    assert guide.encoder.knows(batch).all()
    start = guide._start(batch)
    found, usual = guide._search(batch, *start), guide._modes(batch, *start, guide.rounds)
    torch.testing.assert_close(found.centre, usual.centre)


def test_a_series_finds_its_mode_whatever_its_batch_mates_are() -> None:
    guide = untrained()
    batch, _ = swings(GRIDS["shorter"])
    whole = guide._search(batch, *guide._start(batch)).centre
    rows = torch.arange(5)
    some = guide._search(batch[rows], *guide._start(batch[rows])).centre
    torch.testing.assert_close(whole[:5], some, rtol=1e-3, atol=1e-3)
