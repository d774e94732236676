"""What a newcomer meets: a law's step, windows, groups, shared latents, skeletons, findings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import groundvae as gv
from groundvae.cli.commands import New
from groundvae.cli.new import run as write_new
from groundvae.data.errors import InputError
from groundvae.diagnostics.beforehand import BAD, DOUBTFUL, Finding, _agreed, beforehand
from groundvae.guides.phase import Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.fit import apart, prepare
from groundvae.models.catalogue import SYSTEMS
from groundvae.models.ownfile import PREFIX, find_system
from groundvae.models.prior import format_prior, parse_prior
from groundvae.models.recipe import FitOptions
from groundvae.models.stepsize import MOST
from groundvae.physics.rungekutta import RK4

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("ode", "pde", "image", "function")
EXAMPLES = ("cooling", "rlc", "lotka_volterra", "reaction_diffusion")


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Systems that a test's own files register are forgotten after it, and the files with them."""
    monkeypatch.setattr(SYSTEMS, "_known", dict(SYSTEMS._known))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(PREFIX):  # else the next that reads the file finds it read already
            del sys.modules[name]


class Swing(gv.Dynamics):
    """An oscillator in a unit of time of one's own."""

    rate_ = gv.Latent(gv.LogNormal(0.0, 0.3), unit="rad/s", meaning="of the swing")
    twin = gv.Latent(gv.LogNormal(0.0, 0.3), unit="1", meaning="only their product is seen")
    states = ("position", "velocity")
    observed = "position"
    unit_of_time = 1.0

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"position": 1.0, "velocity": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        omega = z.rate_ * z.twin / self.unit_of_time
        return {
            "position": state.velocity / self.unit_of_time,
            "velocity": -omega * z.rate_ * z.twin * state.position,
        }


def swings(n: int = 24, span: float = 6.0, samples: int = 31) -> gv.Dataset:
    times = np.linspace(0.0, span, samples)
    omega = np.random.default_rng(0).uniform(0.7, 1.3, (n, 1)) * 6.0 / span
    noise = 0.02 * np.random.default_rng(1).standard_normal((n, samples))
    return gv.Dataset(np.cos(omega * times) + noise, {"t": times})


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_the_step_follows_the_unit_of_time(unit: float) -> None:
    kind = type("Own", (Swing,), {"unit_of_time": unit})
    run = prepare(gv.GreyBox(kind(), gv.Unknown("velocity")), swings(span=6.0 * unit))
    assert float(run.model.system.step) == pytest.approx(0.1 * unit, rel=1.01)  # type: ignore[arg-type]


def test_the_step_is_saved(tmp_path: Path) -> None:
    run = prepare(gv.GreyBox(Swing(), gv.Unknown("velocity")), swings(span=60.0))
    run.save(tmp_path / "run")
    again = gv.load_run(tmp_path / "run")
    assert torch.equal(again.model.system.step, run.model.system.step)  # type: ignore[arg-type]


def test_windows_are_the_record_cut() -> None:
    record = swings(n=2, span=6.0, samples=61)
    cut = gv.windows(record, 2.0)
    assert cut.x.shape == (6, 20)
    np.testing.assert_array_equal(cut.x[4], record.x[1, 20:40])
    np.testing.assert_allclose(cut.coordinates["t"], 0.1 * np.arange(20), atol=1e-9)
    np.testing.assert_allclose(cut.inputs["window_start"], [0, 2, 4, 0, 2, 4], atol=1e-9)
    assert cut.labels["group"] == ("0", "0", "0", "1", "1", "1")
    one, other = cut.split(0.5, seed=0)
    assert {*one.labels["group"]}.isdisjoint(other.labels["group"])
    assert len(gv.windows(record, 2.0, every=1.0)) == 10  # what is half empty is left out
    with pytest.raises(InputError, match=r"no window of 0\.1 s holds 3 samples"):
        gv.windows(record, 0.1)


def test_windows_carry_signals_and_ragged_times() -> None:
    times = np.array([[0.0, 0.5, 1.5, 2.0, 2.6, 3.7], [0.0, 0.5, 1.5, *[np.nan] * 3]])
    x = np.where(np.isnan(times), np.nan, times)
    drive = np.nan_to_num(times) * 10
    data = gv.Dataset(x, {"t": times}, {}, {"drive": drive}, frozenset({"drive"}))
    cut = gv.windows(data, 2.0, every=2.0)
    assert cut.own_times
    np.testing.assert_array_equal(cut.lengths, [3, 3, 3])
    there = ~np.isnan(cut.x)
    np.testing.assert_allclose(cut.inputs["drive"][there], 10 * cut.x[there])


def test_a_few_observations_are_all_fitted() -> None:
    data = swings(n=1)
    assert apart(data) == (data, data)
    train, valid = apart(swings(n=30))
    assert (len(train), len(valid)) == (24, 6)


def test_a_group_is_read_and_kept_together() -> None:
    rows = [(i, t, 0.1 * t, f"rig {i % 3}") for i in range(30) for t in range(4)]
    table = pd.DataFrame(rows, columns=["observation", "time", "value", "group"])
    train, valid = apart(gv.read(table))
    assert {*train.labels["group"]}.isdisjoint(valid.labels["group"])
    table.loc[0, "group"] = "rig 9"
    with pytest.raises(InputError, match="group changes within observation 0"):
        gv.read(table)


def test_a_narrowed_prior_is_a_density_and_text() -> None:
    text = "Narrowed(LogNormal(loc=0.5, scale=0.4), 1.0, 0.2)"
    prior = parse_prior(text)
    assert format_prior(prior) == text
    at = torch.linspace(0.01, 12.0, 20001)
    assert torch.trapezoid(prior.log_prob(at).exp(), at).item() == pytest.approx(1.0, abs=1e-3)
    torch.manual_seed(0)
    drawn = prior.sample(torch.Size([4000])).log()
    assert drawn.mean().item() == pytest.approx(0.5 + 0.4 * 1.0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.4 * 0.2, rel=0.05)
    with pytest.raises(InputError, match="expected a scale above 0"):
        parse_prior("Narrowed(Normal(0, 1), 0, 0)")


def test_what_is_shared_needs_evidence() -> None:
    class Shared(Swing):
        rate_ = gv.Latent(gv.LogNormal(0.0, 0.3), shared=True)

    with pytest.raises(InputError, match="rate_ is shared by all observations"):
        gv.fit(gv.GreyBox(Shared()), swings())


def findings(system: gv.Dynamics, data: gv.Dataset) -> list[Finding]:
    return beforehand(prepare(gv.GreyBox(system, gv.Unknown("velocity")), data), data)


def test_latents_that_only_act_together_are_found() -> None:
    told = [f for f in findings(Swing(), swings()) if "cannot be told apart" in f.sentence]
    assert len(told) == 1
    assert told[0].level == DOUBTFUL
    assert "rate_, twin" in told[0].sentence or "twin, rate_" in told[0].sentence
    assert "-0.71" in told[0].sentence  # of one, against +0.71 of the other


def test_what_is_shared_is_told_by_all_observations() -> None:
    """As in one regression on all of them, in which each other's own latents are unknown."""
    torch.manual_seed(0)
    design = torch.randn(7, 3, dtype=torch.float64)
    told, shared, n = design.T @ design, torch.tensor([False, True, False]), 5
    found = told.clone()
    found[1, 1] += _agreed(told.expand(n, 3, 3), shared, n - 1).squeeze()
    own = design[:, [0, 2]]
    joint = torch.zeros(7 * n, 1 + 2 * n, dtype=torch.float64)
    joint[:, 0] = design[:, 1].repeat(n)
    for i in range(n):
        joint[7 * i : 7 * (i + 1), 1 + 2 * i : 3 + 2 * i] = own
    precision = joint.T @ joint + torch.diag(torch.tensor([0.0, 0, 0] + [1.0] * (2 * n - 2)))
    expected = torch.linalg.inv(precision)[:3, :3]
    order = torch.tensor([1, 0, 2])
    assert torch.allclose(torch.linalg.inv(found)[order][:, order], expected)


def test_a_second_fit_may_use_what_the_first_has_left_out() -> None:
    """With shared latents a run is fitted several times, each time from the beginning."""
    run = prepare(gv.GreyBox(Swing(), gv.Unknown("velocity", sees=())), swings())
    (residual,) = run.model.residuals
    whole = run.model.auxiliary
    residual.asked[2:] = False
    residual.resize()
    assert run.model.auxiliary < whole
    batch = run.batch(swings())
    options = FitOptions(steps=1)
    fitting = Fitting(run.model, run.loss(), batch, options, Simulator(run.model))
    (phase,) = run.guide.phases(fitting)
    assert phase.begin(fitting).search.at.shape[1] == 2 + whole  # type: ignore[attr-defined]


def test_a_latent_that_does_nothing_is_found() -> None:
    class Idle(Swing):
        idle = gv.Latent(gv.Normal(0.0, 1.0))

    said = [f.sentence for f in findings(Idle(), swings()) if f.level == BAD]
    assert said == ["nothing observed depends on idle: leave it out, or observe more"]


def test_other_units_of_time_are_found() -> None:
    said = [f.sentence for f in findings(Swing(), swings(span=6e-3))]
    assert any("is t in the units of the law's rates" in each for each in said)


def test_samples_between_which_all_is_over_are_found() -> None:
    said = [f.sentence for f in findings(Swing(), swings(span=36.0, samples=5))]
    assert any("even the law's slowest change takes about" in each for each in said)


def test_samples_long_after_the_start_are_found() -> None:
    """And no more steps are tried before them than over the whole of such a span."""

    class Late(Swing):
        release = None  # the start is the first sample

    data = swings(samples=7)
    data = replace(data, coordinates={"t": data.coordinates["t"] + 40.0})
    run = prepare(gv.GreyBox(Swing(), gv.Unknown("velocity")), data)
    assert "say release = None in the system" in beforehand(run, data)[1].sentence
    assert 46.0 / float(run.model.system.step) < 2 * MOST  # type: ignore[arg-type]
    assert not [f for f in findings(Late(), data) if "release" in f.sentence]


def test_a_coarse_step_is_found() -> None:
    class Coarse(Swing):
        solver = RK4(1.5)

    said = [f.sentence for f in findings(Coarse(), swings(span=6.0, samples=5))]
    assert any(each.startswith("a step of 1.5 is too coarse") for each in said)


def test_draws_that_run_away_are_found() -> None:
    class Runaway(Swing):
        power = gv.Latent(gv.Uniform(0.0, 40.0))

        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            pushed = z.power * state.position**3
            return {"position": state.velocity, "velocity": pushed}

    said = [f for f in findings(Runaway(), swings()) if f.level == BAD]
    assert "leave the finite numbers" in said[0].sentence


@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_can_be_prepared(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"my_{kind}.py"
    write_new(New(path, kind))  # type: ignore[arg-type]
    entry = find_system(str(path))
    assert entry.name == f"my_{kind}"
    assert entry.source.simulate is not None
    data = entry.source.simulate(8, 0)
    assert not [f for f in beforehand(prepare(str(path), data), data) if f.level == BAD]
    with pytest.raises(InputError, match="is there already"):
        write_new(New(path, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_through(name: str) -> None:
    path = str(ROOT / "examples" / f"{name}.py")
    entry = find_system(path)
    assert entry.source.simulate is not None
    data = entry.source.simulate(6, 0)
    assert set(entry.system.declared) <= set(data.truth)
    assert not [f for f in beforehand(prepare(path, data), data) if f.level == BAD]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_fits(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"my_{kind}.py"
    write_new(New(path, kind))  # type: ignore[arg-type]
    simulate = find_system(str(path)).source.simulate
    assert simulate is not None
    check_recovery(str(path), simulate(60, 1), simulate(60, 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_recovers_its_truth(name: str) -> None:
    path = str(ROOT / "examples" / f"{name}.py")
    simulate = find_system(path).source.simulate
    assert simulate is not None
    check_recovery(path, simulate(60, 1), simulate(60, 3))


def check_recovery(path: str, data: gv.Dataset, test: gv.Dataset) -> None:
    """Intervals of every latent hold, and are narrower than its prior's."""
    run = gv.fit(path, data)
    posterior = gv.posterior(run, test)["posterior"]
    for latent in run.model.latents:
        drawn, truth = posterior[latent.name].values[0], test.truth[latent.name]
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        held = ((low < truth) & (truth < high)).mean()
        assert held > 0.7, (latent.name, held)
        assert drawn.std(0).mean() < latent.prior.sample(torch.Size([999])).std().item()


def test_a_run_is_cited_and_shown() -> None:
    run = prepare(gv.GreyBox(Swing(), gv.Unknown("velocity")), swings())
    said = gv.citation(run)
    assert "Takeishi & Kalousis (2021)" in said
    assert "Alvarez" in said
    assert "spline" not in said
    shown = run._repr_html_()
    assert "<table" in shown
    assert "rate_" in shown
    assert json.dumps(run.config.priors["rate_"])[1:-1] in shown


def test_twenty_states_and_twenty_latents() -> None:
    count = 10

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        rates = {f"v{i}": -(z[f"k{i}"] ** 2) * state[f"x{i}"] for i in range(count)}
        return {f"x{i}": state[f"v{i}"] for i in range(count)} | rates

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {f"x{i}": z[f"a{i}"] for i in range(count)} | {f"v{i}": 0.0 for i in range(count)}

    members = {f"k{i}": gv.Latent(gv.LogNormal(0.0, 0.3)) for i in range(count)}
    members |= {f"a{i}": gv.Latent(gv.Normal(0.0, 1.0)) for i in range(count)}
    states = tuple(f"x{i}" for i in range(count)), tuple(f"v{i}" for i in range(count))
    law = {"states": states[0] + states[1], "observed": states[0], "rate": rate, "initial": initial}
    many = type("Many", (gv.Dynamics,), members | law)
    random, times = np.random.default_rng(0), np.linspace(0.0, 4.0, 21)
    k, a = random.lognormal(0, 0.3, (20, 1, count)), random.normal(0, 1, (20, 1, count))
    x = a * np.cos(k * times[:, None]) + 0.02 * random.standard_normal((20, 21, count))
    unknown = gv.Unknown("v0", sees=("v0",), frequencies=4)
    data = gv.Dataset(x[:4], {"t": times})
    run = prepare(gv.GreyBox(many(), unknown), data)
    search = run.guide.start(run.batch(data))
    assert search is not None
    search.renew()
    search.move()
    assert search.alive.all()
    assert search.jacobian[..., :20].square().sum(1).sqrt().median() > 0.1
