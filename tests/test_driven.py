"""Laws that are driven by a signal of each observation's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.guides.modes import ModeGuide
from groundvae.inference.fit import prepare
from groundvae.models import sensitivity
from groundvae.physics.rungekutta import Midpoint
from groundvae.physics.solver import stepped


@pytest.mark.parametrize("interpolation", ["linear", "previous"])
def test_tangents_know_a_drive(interpolation: str) -> None:
    """A signal of each observation's own is no reason for the slow way."""

    class Driven(gv.Dynamics):
        rate_ = gv.Latent(gv.LogNormal(0.0, 0.3))
        drive = gv.Input(over=("time",), interpolation=interpolation)  # type: ignore[arg-type]
        states = ("position", "velocity")
        observed = "position"

        def initial(self, z, inputs):  # type: ignore[no-untyped-def]
            return {"position": 1.0, "velocity": 0.0}

        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            pull = -(z.rate_**2) * state.position * (1 + inputs.drive)
            return {"position": state.velocity, "velocity": pull}

    random, times = np.random.default_rng(0), np.arange(12) * 0.1
    drive = random.standard_normal((3, 12))
    x = random.standard_normal((3, 12))
    data = gv.Dataset(x, {"t": times}, {}, {"drive": drive}, frozenset({"drive"}))
    run = prepare(gv.GreyBox(Driven(), gv.Unknown("velocity", sees=("velocity",))), data)
    run.model.double()
    guide = run.guide
    assert isinstance(guide, ModeGuide)
    batch = Batch.of(data, dtype=torch.float64)
    scores = guide.scores(batch.x)
    at = 0.3 * torch.randn(3, 1 + guide.auxiliary, generator=torch.Generator().manual_seed(1))
    by_tangents = sensitivity.linearize(run.model, scores, at.double(), batch)
    with torch.no_grad():
        forward = sensitivity._forward(run.model, scores, at.double(), batch)
    assert sensitivity.fixed_step(run.model) is not None
    torch.testing.assert_close(by_tangents.mean, forward.mean, rtol=0, atol=1e-10)
    off = by_tangents.jacobian - forward.jacobian
    off[..., 1] = 0.0  # an own variance
    assert off.abs().max() < 1e-9 * forward.jacobian.abs().max()


class Sensor(gv.Dynamics):
    """What is observed is a state times a gain, of a mass that is known, and the drive itself."""

    rate_ = gv.Latent(gv.LogNormal(0.0, 0.3))
    gain = gv.Latent(gv.LogNormal(0.0, 0.3))
    mass = gv.Input()
    drive = gv.Input(over=("time",))
    states = ("position", "velocity")

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"position": inputs.mass, "velocity": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        pull = inputs.drive - z.rate_**2 * state.position
        return {"position": state.velocity, "velocity": pull}

    def observe(self, state, z, inputs):  # type: ignore[no-untyped-def]
        return z.gain * state.position / inputs.mass + inputs.drive


@pytest.mark.parametrize("own_times", [False, True])
@pytest.mark.parametrize("own_drive", [False, True])
def test_what_is_observed_may_read_latents_and_inputs(own_times: bool, own_drive: bool) -> None:
    """Its derivatives by latents that move no state are there: they were zero once."""
    random, times = np.random.default_rng(0), np.linspace(0.0, 3.0, 16)
    arrays = {
        "x": random.standard_normal((5, 16)),
        "t": times * np.linspace(1.0, 1.2, 5)[:, None] if own_times else times,
        "mass": np.arange(1.0, 6.0),
        "drive": np.sin(times) * np.arange(5)[:, None] if own_drive else np.sin(times),
    }
    if own_times and not own_drive:
        arrays["drive"] = np.tile(arrays["drive"], (5, 1))
    data = gv.read(arrays, inputs=Sensor.inputs)
    unknown = gv.Unknown("velocity", sees=("velocity",), frequencies=3)
    run = prepare(gv.GreyBox(Sensor(), unknown), data)
    run.model.double()
    guide = run.guide
    assert isinstance(guide, ModeGuide)
    batch = Batch.of(data, dtype=torch.float64)
    scores = guide.scores(batch.x)
    at = 0.3 * torch.randn(5, 2 + guide.auxiliary, generator=torch.Generator().manual_seed(1))
    by_tangents = sensitivity.linearize(run.model, scores, at.double(), batch)
    with torch.no_grad():
        forward = sensitivity._forward(run.model, scores, at.double(), batch)
    assert sensitivity.fixed_step(run.model) is not None
    torch.testing.assert_close(by_tangents.mean, forward.mean, rtol=0, atol=1e-10)
    by_gain = by_tangents.jacobian[..., 1]
    assert by_gain.abs().max() > 0.1
    torch.testing.assert_close(by_gain, forward.jacobian[..., 1], rtol=0, atol=1e-8)


def test_a_signal_that_was_declared_a_number_says_how_to_declare_it(tmp_path: Path) -> None:
    times = np.tile(np.arange(4.0), 3)
    table = {"observation": np.repeat([0, 1, 2], 4), "time": times, "value": times, "drive": times}
    pd.DataFrame(table).to_csv(tmp_path / "driven.csv", index=False)
    with pytest.raises(InputError, match=r"drive changes within .*over=\(\"time\",\)\) in the law"):
        gv.read(tmp_path / "driven.csv", inputs={"drive": gv.Input()})


def test_a_signal_that_is_held_needs_no_finer_step() -> None:
    """RK4's last stage would see a switched pump before its time, at any step."""

    class Pumped(gv.Dynamics):
        loss = gv.Latent(gv.LogNormal(0.0, 0.3))
        pump = gv.Input(over=("time",), interpolation="previous")
        states = ("level",)
        observed = "level"

        def initial(self, z, inputs):  # type: ignore[no-untyped-def]
            return {"level": 0.0}

        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            return {"level": inputs.pump - z.loss * state.level}

    times = np.arange(0.0, 6.0, 0.25)
    pump = 2.0 * ((times % 2.0) < 1.0)
    arrays = {"x": np.random.default_rng(0).random((20, len(times))), "t": times, "pump": pump}
    data = gv.read(arrays, inputs=Pumped.inputs)
    system = prepare(gv.GreyBox(Pumped(), gv.Unknown("level", sees=())), data).model.system
    assert isinstance(system, gv.Dynamics)
    assert isinstance(stepped(system.method), Midpoint)
    assert float(system.step) >= 0.06  # by RK4 the 128th part of a gap was not fine enough
