"""An unknown that sees a known input: what is missing may go with what drives the law."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.data.errors import InputError
from groundvae.diagnostics.beforehand import _driven
from groundvae.guides.follow import parts_of
from groundvae.guides.modes import ModeGuide
from groundvae.inference.fit import prepare
from groundvae.models import sensitivity
from groundvae.models.recipe import EVIDENCE

TIMES, NOISE = np.linspace(0.0, 4.0, 21), 0.01
LOST = 0.3  # of what is pumped, beside the tank: no law knows

pytestmark = pytest.mark.usefixtures("one_thread")


class Tank(gv.Dynamics):
    """A tank that is filled and runs out; left out: what the pump loses."""

    outflow = gv.Latent(gv.LogNormal(-0.5, 0.5), unit="1/s", meaning="over the level")
    pump = gv.Input(unit="m/s", over=("time",), interpolation="previous")
    width = gv.Input(unit="1", meaning="of the tank, over the usual")
    states = ("level",)
    observed = "level"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"level": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"level": inputs.pump / inputs.width - z.outflow * state.level}


def tanks(n: int, seed: int) -> gv.Dataset:
    """Pumps that are switched at times of their own; the level solved exactly between these."""
    random = np.random.default_rng(seed)
    outflow, width = random.uniform(0.4, 1.0, n), random.uniform(0.8, 1.2, n)
    switched = np.concatenate([np.zeros((n, 1)), np.sort(random.uniform(0.3, 3.8, (n, 4)))], 1)
    pump = np.concatenate([random.uniform(0.5, 1.5, (n, 5)), np.zeros((n, 1))], 1)
    base = np.concatenate([switched, np.full((n, 1), TIMES[-1])], 1)
    x = np.zeros((n, len(TIMES)))
    for i in range(n):
        rate = (1 - LOST) * pump[i] / width[i]
        for a, b, flow in zip(base[i], base[i][1:], rate, strict=False):
            into = np.clip(np.minimum(TIMES, b) - a, 0.0, None)
            gone = np.clip(TIMES - b, 0.0, None)
            x[i] += (
                flow / outflow[i] * (1 - np.exp(-outflow[i] * into)) * np.exp(-outflow[i] * gone)
            )
    x += NOISE * random.standard_normal(x.shape)
    inputs = {"pump": pump, "t_pump": base, "width": width}
    return gv.Dataset(x, {"t": TIMES}, {"outflow": outflow}, inputs, frozenset(inputs))


def model(*sees: str) -> gv.GreyBox:
    return gv.GreyBox(Tank(), gv.Unknown("level", sees=sees), gv.Gaussian())


def test_tangents_are_those_of_differentiation() -> None:
    data = tanks(3, 0)
    residual = gv.Unknown("level", sees=("level", "pump", "width"), span=4.0, frequencies=2)
    run = prepare(gv.GreyBox(Tank(), residual, gv.Gaussian()), data, recipe=EVIDENCE)
    assert isinstance(run.guide, ModeGuide)
    (residual,) = run.model.residuals
    residual.log_variance.data.fill_(-2.0)
    batch = run.batch(data)
    assert batch.x.dtype == torch.float64
    search = run.guide.start(batch)
    at = 0.3 * torch.randn(search.at.shape, generator=torch.Generator().manual_seed(0)).double()
    solver = sensitivity.fixed_step(run.model)
    assert solver is not None
    with torch.no_grad():
        exact = sensitivity._forward(run.model, search.scores, at, batch)
    found = sensitivity._by_tangents(run.model, search.scores, at, batch, solver)
    torch.testing.assert_close(found.mean, exact.mean, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.jacobian, exact.jacobian, atol=1e-8, rtol=1e-7)


@pytest.mark.slow
def test_what_goes_with_an_input_is_found_and_the_physics_are_right() -> None:
    data, others = tanks(40, 1), tanks(60, 2)
    evidence, held = [], []
    for sees in ((), ("pump",)):
        run = gv.fit(model(*sees), data, valid=tanks(8, 3), recipe=EVIDENCE, seed=0)
        drawn = gv.posterior(run, others)
        low, high = np.quantile(drawn["posterior"]["outflow"].values[0], [0.05, 0.95], axis=0)
        truth = others.truth["outflow"]
        held.append(float(((low < truth) & (truth < high)).mean()))
        evidence.append(float(drawn["constant_data"]["log_evidence"].sum()))
    assert evidence[1] > evidence[0]
    assert held[1] > 0.75
    terms = gv.discovered(run).terms.set_index("feature")
    assert terms.loc["pump", "mean"] < 0


def test_what_is_no_state_and_no_input_is_refused() -> None:
    with pytest.raises(InputError, match="sees 'outflow', expected states or inputs: level, pump"):
        model("outflow")


def test_the_law_alone_does_not_see_the_residual() -> None:
    """Decoded with ablations beside each other, where an input is seen in one of them."""
    run = prepare(model("pump"), tanks(4, 0), recipe=EVIDENCE)
    (residual,) = run.model.residuals
    residual.log_variance.data.fill_(-2.0)
    inputs = run.batch(tanks(4, 0)).inputs
    z = {"outflow": torch.full((4,), 0.7, dtype=torch.float64)}
    auxiliary = torch.randn(2, 4, run.model.auxiliary, dtype=torch.float64)
    decoded = run.model.decode(z, auxiliary, inputs)
    assert decoded.full.shape == (2, 4, len(TIMES))
    assert torch.isfinite(decoded.full).all()
    assert decoded.physics is not None
    alone = decoded.physics.expand(decoded.full.shape)
    torch.testing.assert_close(alone[0], alone[1])
    assert not torch.allclose(decoded.full[0], decoded.full[1])


@pytest.mark.parametrize(
    ("sees", "told"),
    [((), "sees=('pump',)"), (("level",), "sees=('level', 'pump',)"), (("pump",), "")],
)
def test_check_says_what_drives_a_law_and_is_not_seen(sees: tuple[str, ...], told: str) -> None:
    run = prepare(model(*sees), tanks(4, 0), recipe=EVIDENCE)
    said = [f.sentence for f in _driven(Tank(), parts_of(run.model))]
    assert len(said) == bool(told)
    assert all(told in each for each in said)
