"""Models as written values, and what every model of every system keeps to."""

from __future__ import annotations

import importlib.util
import json
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.inference.fit import prepare
from groundvae.inference.run import RunConfig, load_run, new_run
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.residuals import Network, Residual, Seen, Waves
from groundvae.models.system import KINDS, Push, System
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.pendulum import Pendulum
from groundvae.models.values import Values
from groundvae.models.written import Written, _remembering

EVERY = [(system, variant) for system, entry in SYSTEMS.items() for variant in entry.variants]
every_model = pytest.mark.parametrize(("system", "variant"), EVERY)
N, DRAWS = 4, 3


pytestmark = pytest.mark.usefixtures("one_thread")


def made(system: str, variant: str) -> tuple[GreyBox, Batch]:
    """In double precision, with residuals that are not silent."""
    entry = SYSTEMS[system]
    assert entry.source.simulate is not None
    batch = Batch.of(entry.source.simulate(N, 0), dtype=torch.float64)
    torch.manual_seed(0)
    model = entry.build(variant)
    model.prepare(batch)
    with torch.no_grad():
        for parameter in model.residuals.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model.double(), batch


def drawn(model: GreyBox) -> tuple[dict[str, Tensor], Tensor | None]:
    """Latents (draw, observation, ...): the physics from their priors.

    z_aux is small: cubes of states that nobody fitted yet would leave the finite numbers.
    """
    torch.manual_seed(1)
    like = torch.zeros(1, dtype=torch.float64)
    z = {each.name: each.prior_like(like).sample(torch.Size([DRAWS, N])) for each in model.latents}
    if not model.auxiliary:
        return z, None
    return z, 0.01 * torch.randn(DRAWS, N, model.auxiliary, dtype=torch.float64)


@every_model
def test_a_model_written_rebuilt_and_written_again_is_the_same(system: str, variant: str) -> None:
    model, _ = made(system, variant)
    values = json.loads(json.dumps(model.written()))
    again = GreyBox.rebuilt(values)
    assert again.written() == model.written()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes
    again.double().load_state_dict(model.state_dict())
    z, auxiliary = drawn(model)
    _, batch = made(system, variant)
    with torch.no_grad():
        first, second = (m.decode(z, auxiliary, batch.inputs).full for m in (model, again))
    assert torch.equal(first, second)


@every_model
def test_shapes_of_many_draws_and_no_nan(system: str, variant: str) -> None:
    model, batch = made(system, variant)
    z, auxiliary = drawn(model)
    with torch.no_grad():
        together = model.decode(z, auxiliary, batch.inputs)
        quick = model.decode(z, auxiliary, batch.inputs, reduced=False)
        alone = model.decode(
            {name: value[1] for name, value in z.items()},
            None if auxiliary is None else auxiliary[1],
            batch.inputs,
        )
    shape = (DRAWS, *batch.x.shape)
    assert (together.physics is not None) == model.system.physics
    parts = [together.full, *together.partial.values()]
    parts += [] if together.physics is None else [together.physics]
    for part in parts:
        assert part.shape == shape
        assert torch.isfinite(part).all()
    torch.testing.assert_close(together.full[1], alone.full, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(quick.full, together.full, rtol=1e-9, atol=1e-9)
    assert model.system.physics or quick.physics is None
    assert not quick.partial


@every_model
def test_draws_of_priors_lie_within_what_makes_sense(system: str, variant: str) -> None:
    model, _ = made(system, variant)
    values, _ = drawn(model)
    unconstrained = model.latents.unconstrain(values) if values else torch.zeros(DRAWS, N, 0)
    back, _ = model.latents.constrain(unconstrained)
    for latent in model.latents:
        for value in (values[latent.name], back[latent.name]):
            assert latent.prior.support.check(value).all()
            assert latent.support is None or latent.support.check(value).all()
        torch.testing.assert_close(back[latent.name], values[latent.name], rtol=1e-5, atol=1e-5)


def silence(residual: Residual, monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual that is asked as before, and adds nothing."""
    bind, add = residual.bind, residual.add

    def silent(seen: Seen) -> Push:
        push = bind(seen)
        return lambda time, states: {k: 0.0 * v for k, v in push(time, states).items()}

    def nothing(seen: Seen, states: Values) -> Tensor:
        return 0.0 * add(seen, states)

    monkeypatch.setattr(residual, "bind", silent)
    monkeypatch.setattr(residual, "add", nothing)


@every_model
def test_what_residuals_add_is_all_that_parts_a_model_from_its_physics(
    system: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = made(system, variant)
    if not model.system.physics:
        assert model.terms
        return
    z, auxiliary = drawn(model)
    with torch.no_grad():
        bare = GreyBox(model.system).decode(z, None, batch.inputs).full
        whole = model.decode(z, auxiliary, batch.inputs)
        for residual in model.terms:
            silence(residual, monkeypatch)
        silent = model.decode(z, auxiliary, batch.inputs)
    assert whole.physics is not None
    assert silent.physics is not None
    # The learned mechanics take another road where they are not alone in the solve.
    torch.testing.assert_close(whole.physics, bare, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(silent.physics, bare, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(silent.full, bare, rtol=1e-7, atol=1e-7)
    if model.terms:
        assert float((whole.full - bare).abs().max()) > 1e-6


def with_default(kind: type[Written], name: str, value: object) -> Callable[..., None]:
    """The constructor of a class, had one of its arguments another default."""
    original: Any = kind.__init__.__wrapped__  # type: ignore[attr-defined, misc]
    changed = FunctionType(
        original.__code__,
        original.__globals__,
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )
    changed.__kwdefaults__ = {**original.__kwdefaults__, name: value}
    return _remembering(changed)


def test_a_saved_run_loads_although_a_default_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(RunConfig("pendulum", 50, "hybrid-told"))
    run.save(tmp_path / "run")
    monkeypatch.setattr(Waves, "__init__", with_default(Waves, "width", 16))
    assert Waves("velocity").network[0].out_features == 16
    fresh = new_run(RunConfig("pendulum", 50, "hybrid-told"))
    assert fresh.model.terms[0].network[0].out_features == 16  # type: ignore[index, union-attr]
    again = load_run(tmp_path / "run")
    assert again.config == run.config
    saved, loaded = run.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_a_run_keeps_its_model_although_its_variant_became_another(tmp_path: Path) -> None:
    run = new_run(RunConfig("pendulum", 50, "hybrid-told"))
    run.config = replace(run.config, variant="hybrid-reg")  # which it was before 0.2.0
    run.save(tmp_path / "run")
    (residual,) = load_run(tmp_path / "run").model.terms
    assert isinstance(residual, Waves)


def test_defaults_and_positional_arguments_are_written_by_name() -> None:
    network = Network("velocity", ("theta",), auxiliary=2)
    values = GreyBox(Pendulum(), network, Gaussian(0.5)).written()
    assert values["system"] == {"kind": "Pendulum"}
    assert values["noise"] == {"kind": "Gaussian", "scale": 0.5, "rate_multiplier": 1.0}
    (written,) = values["residuals"]
    assert written["acts_on"] == "velocity"
    assert (written["auxiliary"], written["width"]) == (2, 64)


def test_what_cannot_be_written_is_refused_in_one_sentence() -> None:
    class Shaped(Residual):
        def __init__(self, shape: object) -> None:
            super().__init__("velocity", (), 1)

    model = GreyBox(Pendulum(), Shaped(torch.zeros(3)))
    with pytest.raises(InputError, match="Shaped has an argument of type Tensor"):
        model.written()


LAW = """
import groundvae as gv

class Spring(gv.Dynamics):
    stiffness = gv.Latent(gv.LogNormal(0.0, 0.5), unit="1/s2")
    states, observed = ("position", "velocity"), "position"

    def initial(self, z, inputs):
        return {"position": 1.0, "velocity": 0.0}

    def rate(self, t, state, z, inputs):
        return {"position": state.velocity, "velocity": -z.stiffness * {FORCE}}
"""


def module_of(name: str, force: str, folder: Path) -> type[System]:
    """A class ``Spring`` in a module of that name, as a user's package might have it."""
    path = folder / f"{name}.py"
    path.write_text(LAW.replace("{FORCE}", force))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    linecache.checkcache()
    kind: type[System] = module.Spring
    return kind


@pytest.fixture
def no_trace() -> Iterator[None]:
    kinds, modules = dict(KINDS), set(sys.modules)
    KINDS.clear()  # of files that other tests have read
    yield
    KINDS.clear()
    KINDS.update(kinds)
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.usefixtures("no_trace")
def test_a_run_takes_its_own_class_among_several_of_one_name(tmp_path: Path) -> None:
    linear = module_of("laws_of_one", "state.position", tmp_path)
    run = prepare(GreyBox(linear(), (), Gaussian()), SYSTEMS["pendulum"].source.simulate(8, 0))  # type: ignore[misc]
    run.save(tmp_path / "run")
    module_of("laws_of_two", "state.position**3", tmp_path)  # defined later, under the same name
    assert type(load_run(tmp_path / "run").model.system) is linear

    index = tmp_path / "run" / "config.json"
    values = json.loads(index.read_text())
    values["model"]["system"]["kind"] = "Spring"  # as an older run has it
    index.write_text(json.dumps(values))
    with pytest.raises(InputError, match="could be any of those in laws_of_one and in laws_of_two"):
        load_run(tmp_path / "run")


@pytest.mark.usefixtures("no_trace")
def test_a_class_that_has_changed_is_not_taken_for_what_was_fitted(tmp_path: Path) -> None:
    linear = module_of("laws_of_one", "state.position", tmp_path)
    run = prepare(GreyBox(linear(), (), Gaussian()), SYSTEMS["pendulum"].source.simulate(8, 0))  # type: ignore[misc]
    run.save(tmp_path / "run")
    module_of("laws_of_one", "state.position**3", tmp_path)
    with pytest.raises(InputError, match="'Spring' in laws_of_one is another than that of laws"):
        load_run(tmp_path / "run")
    KINDS.clear()
    moved = module_of("laws_moved", "state.position", tmp_path)
    assert type(load_run(tmp_path / "run").model.system) is moved
