"""Observations with times and inputs of their own: data, solvers, signals, encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.distributions import LogNormal
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import Input
from groundvae.data.npz import read_npz
from groundvae.data.pendulum import simulate
from groundvae.data.pendulum import solve as exact
from groundvae.data.times import stacked
from groundvae.guides.encoder import FieldEncoder, SeriesEncoder
from groundvae.guides.resample import _exact, resample
from groundvae.inference.inferencedata import save_inference_data, to_inference_data
from groundvae.inference.observed import observations_of
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.latent import Latent
from groundvae.models.values import Values
from groundvae.physics.errors import NonFiniteError
from groundvae.physics.exponential import Exponential
from groundvae.physics.hamiltonian import Separable
from groundvae.physics.signal import Signal
from groundvae.physics.solver import (
    RK4,
    Dopri5,
    Euler,
    Interpolated,
    Leapfrog,
    Midpoint,
    ParallelAdjoint,
    Solver,
    from_start,
    solve,
)

GRIDS = [np.linspace(0, 1, 11), np.array([0.0, 0.13, 0.131, 0.9, 1.7]), np.array([0.0, 0.4])]
TIMES = stacked(GRIDS)
SOLVERS: dict[str, Solver] = {
    "euler": Euler(),
    "midpoint": Midpoint(),
    "rk4": RK4(),
    "leapfrog": Leapfrog(),
    "adjoint": ParallelAdjoint(RK4()),
    "adjoint of midpoint": ParallelAdjoint(Midpoint(0.03)),
    "dopri5": Dopri5(1e-12, 1e-13),
}


def held_times() -> Tensor:
    return Batch.of(ragged(), dtype=torch.float64).inputs["t"]


def ragged() -> Dataset:
    """Three observations on three grids, a mass each, a drive each, and one shared number."""
    rng = np.random.default_rng(0)
    x = np.where(np.isnan(TIMES), np.nan, rng.standard_normal(TIMES.shape))
    x[0, 3] = np.nan
    return Dataset(
        x,
        {"t": TIMES},
        {"omega": np.array([1.0, 2.0, 3.0])},
        {"mass": np.array([1.0, 2.0, 3.0]), "drive": np.sin(TIMES), "gravity": np.array(9.81)},
        frozenset({"mass", "drive"}),
        labels={"observation": ("one", "two", "three")},
        units={"drive": "N"},
    )


class Swings:
    """Forced pendulums (draw, observation), the same field for some of the observations."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.state = torch.randn(2, 3, 2, dtype=torch.float64)
        self.omega = 1 + torch.rand(3, dtype=torch.float64).requires_grad_()
        self.omega.retain_grad()

    def field(self, rows: slice = slice(None)) -> Callable[[Tensor, Tensor], Tensor]:
        def field(time: Tensor, state: Tensor) -> Tensor:
            position, velocity = state.unbind(-1)
            pull = -(self.omega[rows] ** 2) * torch.sin(position)
            return torch.stack([velocity, pull + torch.cos(3 * time)], -1)

        return field


@pytest.mark.parametrize("name", SOLVERS)
def test_solving_together_is_solving_each_alone(name: str) -> None:
    solver, swings = SOLVERS[name], Swings()
    together = solve(swings.field(), swings.state, held_times(), solver)
    assert together.shape == (2, 3, 11, 2)
    (slope,) = torch.autograd.grad(together[:, :, -1].pow(2).sum(), swings.omega, retain_graph=True)
    for i, grid in enumerate(GRIDS):
        rows = slice(i, i + 1)
        times = torch.as_tensor(grid)
        alone = solve(swings.field(rows), swings.state[:, rows], times, solver)
        torch.testing.assert_close(together[:, rows, : len(grid)], alone, rtol=1e-10, atol=1e-10)
        for beyond in range(len(grid), 11):  # it stands still
            torch.testing.assert_close(together[:, i, beyond], together[:, i, len(grid) - 1])
        (own,) = torch.autograd.grad(alone[:, :, -1].pow(2).sum(), swings.omega, retain_graph=True)
        torch.testing.assert_close(slope[i], own[i], rtol=1e-9, atol=1e-10)


def test_a_separable_law_and_its_interpolation() -> None:
    swings, times = Swings(), held_times()
    law = Separable(lambda p: p, lambda q: -torch.sin(q))
    for solver in (Leapfrog(0.02), Interpolated(Leapfrog(0.02))):
        together = solve(law, swings.state, times, solver)
        for i, grid in enumerate(GRIDS):
            alone = solve(law, swings.state[:, i : i + 1], torch.as_tensor(grid), solver)
            # The interpolated one ends its own steps elsewhere, within its error.
            near = 1e-10 if isinstance(solver, Leapfrog) else 1e-5
            torch.testing.assert_close(
                together[:, i : i + 1, : len(grid)], alone, rtol=near, atol=near
            )


def test_linear_laws_are_exact() -> None:
    torch.manual_seed(0)
    matrix = 3 * torch.randn(3, 4, 4, dtype=torch.float64)
    state = torch.randn(2, 3, 4, dtype=torch.float64)
    times = held_times()
    path = solve(lambda t, y: (matrix @ y.unsqueeze(-1)).squeeze(-1), state, times, Exponential())
    known = torch.matrix_exp(
        (times.T[:, None, :, None, None] * matrix).contiguous()
    ) @ state.unsqueeze(-1)
    torch.testing.assert_close(path, known.squeeze(-1).movedim(0, -2), rtol=1e-9, atol=1e-9)
    even = torch.linspace(0, 1, 6, dtype=torch.float64) * torch.tensor([[1.0], [0.5], [2.0]])
    path = solve(lambda t, y: (matrix @ y.unsqueeze(-1)).squeeze(-1), state, even, Exponential())
    known = torch.matrix_exp(
        (even.T[:, None, :, None, None] * matrix).contiguous()
    ) @ state.unsqueeze(-1)
    torch.testing.assert_close(path, known.squeeze(-1).movedim(0, -2), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("solver", [RK4(0.2), ParallelAdjoint(RK4(0.2)), Leapfrog(0.2)])
def test_gradients_are_right(solver: Solver) -> None:
    times = torch.tensor([[0.0, 0.3, 0.7], [0.0, 0.5, 0.5]], dtype=torch.float64)
    push = Signal(times, torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64))

    def end(state: Tensor, omega: Tensor) -> Tensor:
        def field(time: Tensor, at: Tensor) -> Tensor:
            position, velocity = at.unbind(-1)
            force = push(time) - omega**2 * torch.sin(position)
            return torch.stack([velocity, force], -1)

        return solve(field, state, times, solver)

    state = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    omega = torch.rand(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(end, (state, omega))


@settings(deadline=None, max_examples=25)
@given(
    gaps=st.lists(st.floats(1e-3, 0.4), min_size=1, max_size=6),
    extra=st.integers(0, 3),
    mate=st.lists(st.floats(1e-3, 0.4), min_size=1, max_size=6),
)
def test_padding_and_batch_mates_change_nothing(
    gaps: list[float], extra: int, mate: list[float]
) -> None:
    swings = Swings()
    grids = [np.cumsum([0.0, *g]) for g in (gaps, mate, [0.1])]
    width = max(map(len, grids)) + extra
    rows = [np.append(g, np.full(width - len(g), g[-1])) for g in grids]
    together = solve(swings.field(), swings.state, torch.as_tensor(np.stack(rows)), RK4())
    one = slice(0, 1)
    alone = solve(swings.field(one), swings.state[:, one], torch.as_tensor(grids[0]), RK4())
    torch.testing.assert_close(together[:, one, : len(grids[0])], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["euler", "midpoint", "rk4", "leapfrog", "adjoint"])
def test_stage_times_are_where_the_field_is_asked(name: str) -> None:
    asked: list[Tensor] = []

    def spy(time: Tensor, state: Tensor) -> Tensor:
        asked.append(time)
        return -state

    times, solver = held_times(), SOLVERS[name]
    solve(spy, torch.ones(3, 2, dtype=torch.float64), times, solver)
    stages = solver.stage_times(times)
    assert stages is not None
    assert stages.shape[1] == 3
    assert bool((torch.diff(stages, dim=0) >= 0).all())
    for time in asked:
        assert bool((stages == time).all(-1).any())


def test_the_start_is_put_in_front() -> None:
    times = torch.tensor([[0.0, 1.0], [0.5, 2.0]])
    assert from_start(times, "the release").tolist() == [[0, 0, 1], [0, 0.5, 2]]
    swings = Swings()
    path = solve(swings.field(slice(2)), swings.state[:, :2], from_start(times.double(), ""), RK4())
    torch.testing.assert_close(path[:, 0, 1], swings.state[:, 0])
    assert torch.equal(from_start(times[:1], "the release"), times[:1])
    with pytest.raises(
        InputError, match=r"t of observation 1 starts at -0\.5 s, before the release"
    ):
        from_start(torch.tensor([[0.0, 1.0], [-0.5, 2.0]]), "the release")


def test_what_diverges_is_named_with_its_own_time() -> None:
    times = torch.tensor([[0.0, 0.1, 0.2], [0.0, 5.0, 6.0]])
    with pytest.raises(NonFiniteError, match=r"sample 1 is not finite from t = 5 s on"):
        solve(lambda t, y: y**3, torch.tensor([[0.0], [50.0]]), times, Euler(0.1))
    with pytest.raises(InputError, match=r"expected \(..., 2, dimension\)"):
        solve(lambda t, y: y, torch.ones(3, 1), times, Euler(0.1))


def test_signals_are_numpys_interpolation() -> None:
    rng = np.random.default_rng(0)
    grids = [np.sort(rng.random(7)), np.sort(rng.random(4))]
    values = [rng.standard_normal(7), rng.standard_normal(4)]
    wanted = torch.as_tensor(rng.uniform(-0.2, 1.2, (9, 2)))
    series = stacked(values)
    whole = Dataset(series, {"t": stacked(grids)}, {}, {"u": series}, frozenset("u"))
    inputs = Batch.of(whole, dtype=torch.float64).inputs
    signal = Signal(inputs["t"], inputs["u"])
    known = np.stack([np.interp(wanted[:, i], grids[i], values[i]) for i in range(2)], 1)
    np.testing.assert_allclose(signal(wanted), known)
    for row in wanted:
        np.testing.assert_allclose(signal(row), signal(row.unsqueeze(0))[0])
        np.testing.assert_allclose(signal(row[0]), signal(row[:1].expand(2)))
    np.testing.assert_allclose(signal(wanted[:, :1]), signal(wanted[:, :1].expand(9, 2)))
    shared = Signal(inputs["t"][0], inputs["u"][0])
    np.testing.assert_allclose(shared(wanted), np.interp(wanted, grids[0], values[0]))
    assert shared(wanted[0, 0]).shape == ()
    several = Signal(inputs["t"][0], torch.stack([inputs["u"][0], -inputs["u"][0]]))
    np.testing.assert_allclose(several(wanted[0, 0]), several(wanted[:1, :1])[0])


def test_a_held_sample_lasts_until_the_next() -> None:
    times, doses = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([[1.0, 0.0, 3.0], [5.0, 6.0, 6.0]])
    asked = torch.tensor([-1.0, 0.0, 0.99, 1.0, 1.5, 2.0, 9.0]).unsqueeze(-1)
    expected = [[1, 5], [1, 5], [1, 5], [0, 6], [0, 6], [3, 6], [3, 6]]
    for at in (times, times.expand(2, 3)):
        signal = Signal(at, doses, "previous")
        assert signal(asked).tolist() == expected
        assert torch.stack([signal(t) for t in asked.squeeze(-1)]).tolist() == expected


def test_a_signal_of_one_sample_is_constant() -> None:
    one = Signal(torch.zeros(1), torch.tensor([[2.0], [3.0]]))
    assert one(torch.tensor(5.0)).tolist() == [2, 3]
    assert one(torch.tensor([5.0, -1.0])).tolist() == [2, 3]


def test_signals_are_differentiable() -> None:
    times = torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, 2.0]], dtype=torch.float64)
    values = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    at = torch.tensor([[0.4, 0.3], [2.2, 1.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, t: Signal(times, v)(t), (values, at))


@pytest.mark.parametrize(
    ("times", "values"), [((3,), (4,)), ((2, 3), (3, 3)), ((), ()), ((1, 2, 3), (3,))]
)
def test_signals_of_other_shapes_are_refused(
    times: tuple[int, ...], values: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"expected \(time,\) or|expected as many"):
        Signal(torch.zeros(times), torch.zeros(values))


def thirds(n: int) -> tuple[Dataset, Dataset]:
    """Pendulums on the usual grid, and the same on three grids, noiseless."""
    usual = simulate(n, 1, noise=0.0)
    rng = np.random.default_rng(2)
    grids = [
        np.linspace(0, 2.45, 50),
        np.linspace(0, 2.45, 80),
        np.sort(np.append(rng.uniform(0, 2.45, 88), [0, 2.45])),
    ]
    rows = []
    for i in range(n):
        one = {k: v[i : i + 1] for k, v in usual.truth.items()}
        rows.append(exact(one, grids[i % 3])[0])
    x = stacked(rows)
    return usual, replace(usual, x=x, coordinates={"t": stacked([grids[i % 3] for i in range(n)])})


def test_an_encoder_reads_other_grids_nearly_like_its_own() -> None:
    usual, own = thirds(30)
    encoder = SeriesEncoder(50)
    encoder.prepare(Batch.of(usual))
    expected, found = encoder.read(Batch.of(usual)), encoder.read(Batch.of(own))
    assert found.shape == expected.shape
    assert float((found - expected).abs().median()) < 0.01
    assert float((found - expected).pow(2).mean().sqrt()) < 0.2  # fast forcing between the samples
    encoder.prepare(Batch.of(own))
    np.testing.assert_allclose(encoder.grid, usual.coordinates["t"], atol=1e-6)


def test_many_samples_are_read_as_by_the_exact_mean() -> None:
    torch.manual_seed(0)
    grid = torch.linspace(0, 2, 12, dtype=torch.float64)
    times = torch.rand(2, 60, dtype=torch.float64).sort().values * 2
    series = torch.sin(3 * times)
    seen = torch.rand(2, 60) > 0.1
    found = resample(series.masked_fill(~seen, 7.0), times, grid, seen)
    known = _exact(series.masked_fill(~seen, 0.0), times, seen, grid)
    torch.testing.assert_close(found, known, atol=2e-3, rtol=0)
    assert float((resample(series, times, grid) - torch.sin(3 * grid)).abs().max()) < 0.03


def test_fields_on_other_grids_are_read() -> None:
    torch.manual_seed(0)
    space = torch.sin(torch.linspace(0.3, 2.5, 6))
    slow = 0.5 + torch.rand(20)
    grid = torch.linspace(0, 2, 24)
    own = torch.cat([torch.zeros(20, 1), torch.rand(20, 29).sort().values * 2], 1)
    own[:, -1] = 2.0

    def at(times: Tensor) -> Tensor:
        return torch.exp(-slow[:, None] * times)[..., None] * space

    shared = Batch(at(grid.expand(20, -1)), {"t": grid})
    encoder = FieldEncoder(24, 6, patterns=4)
    encoder.prepare(shared)
    batch = Batch(at(own), {"t": own})
    expected = encoder.read(shared)
    torch.testing.assert_close(encoder.read(batch)[:, 0], expected[:, 0], rtol=0.02, atol=0.02)
    encoder.prepare(batch)
    again = encoder.read(batch)
    assert torch.isfinite(encoder.describe(again)).all()
    assert float(torch.corrcoef(torch.stack([again[:, 0], expected[:, 0]]))[0, 1].abs()) > 0.99


def test_a_batch_keeps_what_is_an_observations_own() -> None:
    batch = Batch.of(ragged())
    assert batch.own == {"t", "mass", "drive"}
    assert batch.own_times
    assert batch.observed is not None
    assert batch.observed.sum(1).tolist() == [10, 5, 2]
    assert batch.inputs["t"][2].tolist() == pytest.approx([0.0] + [0.4] * 10)
    assert float(batch.inputs["drive"][1, -1]) == pytest.approx(np.sin(1.7))
    some = batch[torch.tensor([2, 0])]
    assert some.inputs["mass"].tolist() == [3, 1]
    assert float(some.inputs["gravity"]) == pytest.approx(9.81)
    assert torch.equal(some.inputs["t"][1], batch.inputs["t"][0])
    again = some.with_x(torch.ones(2, 11))
    assert again.observed is not None
    assert again.observed.sum(1).tolist() == [2, 11]
    assert again.inputs is some.inputs
    with pytest.raises(InputError, match="3 observations for the own inputs of 2"):
        some.with_x(torch.ones(3, 11))


def test_a_batch_is_carried_on() -> None:
    batch = Batch.of(ragged())
    ahead = batch.until(2.0)
    assert ahead.x.shape == ahead.inputs["t"].shape == ahead.inputs["drive"].shape
    assert ahead.own == batch.own
    assert ahead.inputs["t"].amax(-1).tolist() == pytest.approx([2.0, 1.96, 2.0])
    assert bool((torch.diff(ahead.inputs["t"]) >= 0).all())
    for row, length in enumerate((11, 5, 2)):
        assert torch.equal(ahead.inputs["t"][row, :length], batch.inputs["t"][row, :length])
    shared = Batch.of(simulate(2, 0))
    assert shared.until(3.0).inputs["t"].shape == (61,)
    with pytest.raises(InputError, match=r"before the data's last time 1\.7 s"):
        batch.until(1.5)


def test_three_grids_survive_a_file(tmp_path: Path) -> None:
    data = ragged()
    data.save(tmp_path / "d.npz")
    found = read_npz(tmp_path / "d.npz")
    for name, value in data.arrays().items():
        np.testing.assert_array_equal(found[name], value)


def test_parts_keep_everything() -> None:
    data = ragged()
    part = data.subset(np.array([2, 0]))
    assert part.labels["observation"] == ("three", "one")
    assert part.inputs["mass"].tolist() == [3, 1]
    assert part.inputs["gravity"] == 9.81
    assert part.lengths.tolist() == [2, 11]
    first, second = data.split(0.5, 0, groups=np.array(["a", "b", "a"]))
    assert {first.labels["observation"], second.labels["observation"]} == {
        ("one", "three"),
        ("two",),
    }


def test_declared_inputs_are_found() -> None:
    data = replace(ragged(), own=frozenset({"mass", "drive"}))
    declared = {"mass": Input("kg"), "drive": Input("N", over=("time",)), "gravity": Input()}
    assert data.declare(declared).own == {"mass", "drive"}
    with pytest.raises(InputError, match="the data have no input 'charge', found: drive, gravity"):
        data.declare({"charge": Input()})
    with pytest.raises(InputError, match=r"input 'drive' has shape \(3, 11\), expected \(\) or"):
        data.declare({"drive": Input()})
    taken = data.declare({"omega": Input("rad/s")})  # a number each, under an input's name
    assert "omega" in taken.own
    assert not taken.truth


def damaged(**changes: object) -> Dataset:
    data = ragged()
    inputs = {**data.inputs, **{k: v for k, v in changes.items() if k in ("mass", "t_drive", "u")}}
    rest = {k: v for k, v in changes.items() if k not in inputs}
    own = frozenset({"mass", "drive"}) | ({"t_drive"} if "t_drive" in changes else set())
    if "t_drive" in changes:
        inputs["drive"] = np.zeros((3, 4))
    return replace(data, inputs=inputs, own=own, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coordinates": {"t": TIMES[:2]}}, "t has 2 rows, expected one for each of 3"),
        ({"coordinates": {"t": np.nan * TIMES}}, "t has no time in observation 0"),
        ({"coordinates": {"t": TIMES[:, ::-1]}}, "t is not strictly|t has a gap"),
        ({"coordinates": {"t": np.where(TIMES > 1.0, np.nan, TIMES)}}, "beyond the times of obs"),
        ({"coordinates": {"t": TIMES + 1.7e9}}, "single precision in observation"),
        ({"mass": np.ones(2)}, r"input 'mass' has shape \(2,\), expected one for each of 3"),
        ({"mass": np.array([1, np.nan, 1])}, "'mass' is not finite in observation 1"),
        ({"u": np.ones(5)}, "'u' has 5 samples, expected 11, one for each of its times"),
        (
            {"t_drive": np.tile([0, 1, 1.2, 1.3], (3, 1))},
            r"'drive' ends at 1\.3 s, before observation 1",
        ),
        (
            {"t_drive": np.tile([0.1, 1, 2, 3], (3, 1))},
            r"'drive' starts at 0\.1 s, after observation 0",
        ),
        ({"t_drive": np.tile([0.0, 1, 1, 3], (3, 1))}, "'t_drive' is not strictly increasing"),
        ({"error": np.zeros((3, 11))}, "error is not positive everywhere"),
        ({"error": np.ones((3, 2))}, r"error has shape \(3, 2\), expected \(3, 11\)"),
        ({"censored": np.full((3, 11), 2)}, "censored holds other marks"),
    ],
)
def test_what_is_none_of_the_observations_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        damaged(**changes)


class Driven(Dynamics):
    """A mass on a spring that something pushes; each with a mass and a push of its own."""

    omega = Latent(LogNormal(0.5, 0.3), unit="rad/s", meaning="angular frequency")
    mass = Input(unit="kg")
    push = Input(unit="N", meaning="what pushes it", over=("time",))
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"position": 0.0 * z.omega, "velocity": 0.0}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}


def test_an_inference_data_holds_times_and_inputs_of_their_own(tmp_path: Path) -> None:
    plain = ragged()
    inputs = {"mass": plain.inputs["mass"], "push": plain.inputs["drive"]}
    data = replace(plain, inputs=inputs, own=frozenset(inputs)).declare(Driven.inputs)
    how = SimpleNamespace(system="driven", variant="", how=SimpleNamespace(guide=""))
    model = SimpleNamespace(system=Driven(), latents=Driven().latents)
    run = SimpleNamespace(model=model, config=how)
    batch = Batch.of(data)
    for ahead in (batch, batch.until(2.0)):
        groups = {"posterior": {"omega": torch.ones(2, 3)}, "prior": {"omega": torch.ones(2)}}
        groups["posterior_predictive"] = {"x": torch.zeros(2, *ahead.x.shape)}
        made = to_inference_data(run, data, groups, ahead.inputs)  # type: ignore[arg-type]
        constant = made["constant_data"]
        steps = ahead.x.shape[1]
        assert constant["t"].dims == constant["push"].dims == ("observation", "time")
        assert constant["t"].attrs["units"] == "s"
        assert constant["mass"].attrs["units"] == "kg"
        assert made["posterior_predictive"]["time"].values.tolist() == list(range(steps))
        back = observations_of(made, Driven())
        assert back.own == {"mass", "push"}
        np.testing.assert_array_equal(back.x, data.x)
        np.testing.assert_allclose(back.inputs["mass"], data.inputs["mass"])
        for row, length in enumerate(data.lengths):
            known = data.coordinates["t"][row, :length]
            np.testing.assert_allclose(back.coordinates["t"][row, :length], known, rtol=1e-6)
        save_inference_data(made, tmp_path / "post.nc")
