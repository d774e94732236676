"""Searches that begin on a path through the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import groundvae as gv
from groundvae.guides import lifted
from groundvae.guides.admission import begin
from groundvae.guides.follow import parts_of
from groundvae.guides.modes import ModeGuide
from groundvae.inference.fit import prepare
from groundvae.models.datapath import on_data, shown
from groundvae.models.dynamics import Dynamics
from groundvae.models.ownfile import find_system
from groundvae.models.path import solved
from groundvae.models.sensitivity import fixed_step

WILD = str(Path(__file__).resolve().parents[1] / "examples" / "lotka_volterra.py")


def test_the_path_runs_through_the_samples() -> None:
    """Between them along a line; what is masked, and what is not observed, is left out."""
    simulate = find_system(WILD).source.simulate
    assert simulate is not None
    data = simulate(3, 0)
    run = prepare(WILD, data)
    system = run.model.system
    assert isinstance(system, Dynamics)
    assert shown(system) == [0, 1]
    whole = run.batch(data)
    x = whole.x
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[1, :, 0] = False  # the hares of one
    observed[2, 5] = False
    batch = replace(whole, observed=observed)
    guide = run.guide
    assert isinstance(guide, ModeGuide)
    search = guide.start(batch)
    method = fixed_step(run.model)
    assert method is not None
    path = solved(run.model, search.scores, search.at, batch, method)
    found = on_data(path, system, batch)
    samples = found.sampled(found.states, lambda: found.states, x.shape[1])
    kept = path.sampled(path.states, lambda: path.states, x.shape[1])
    torch.testing.assert_close(samples[0, :, :2], x[0])
    torch.testing.assert_close(samples[..., 2], kept[..., 2])
    torch.testing.assert_close(samples[1, :, 0], kept[1, :, 0])
    torch.testing.assert_close(samples[2, 5, :2], (x[2, 4] + x[2, 6]) / 2)


def test_what_is_made_of_states_shows_none() -> None:
    class Sum(gv.Dynamics):
        states = ("a", "b")

        def initial(self, z, inputs):  # type: ignore[no-untyped-def]
            return {"a": 1.0, "b": 0.0}

        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            return {"a": state.b, "b": -state.a}

        def observe(self, state, z, inputs):  # type: ignore[no-untyped-def]
            return state.a + state.b

    assert shown(Sum()) == []


def test_more_arrive_from_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hares and lynxes that run away from the middle of the prior are followed from the data."""
    simulate = find_system(WILD).source.simulate
    assert simulate is not None
    data = simulate(24, 1)
    arrived: list[torch.Tensor] = []
    for use in (False, True):
        if not use:
            monkeypatch.setattr(lifted, "shown", lambda _: [])
        else:
            monkeypatch.undo()
        run = prepare(WILD, data)
        guide = run.guide
        assert isinstance(guide, ModeGuide)
        search, parts = guide.start(run.batch(data)), parts_of(run.model)
        begin(search, parts)
        arrived.append(lifted.lift(search, parts, own=False))
    before, after = arrived
    assert bool(after[before].all())  # none is lost
    assert int(after.sum()) > int(before.sum())
