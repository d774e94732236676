"""What is open: kinds of one's own, from a file outside the package, by name or as objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.cli.main import main
from groundvae.data.errors import InputError
from groundvae.data.pendulum import simulate
from groundvae.diagnostics.check import CHECKS
from groundvae.diagnostics.diagnose import diagnose
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.phase import Ending
from groundvae.inference.fit import fit
from groundvae.inference.penalty import PENALTIES
from groundvae.inference.run import RunConfig, load_run, new_run
from groundvae.models import registry
from groundvae.models.greybox import GreyBox
from groundvae.models.noises import NOISES
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.ownfile import PREFIX, entries_of, find_system, load
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.registry import Registry
from groundvae.models.residuals import RESIDUALS, Network
from groundvae.models.solvers import SOLVERS, solver_of
from groundvae.models.system import KINDS
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.pendulum import Pendulum

OWN = '''
import numpy as np
import pyro.distributions as dist
import torch
import xarray as xr
import groundvae as gv
from groundvae.diagnostics.check import Check, registered
from groundvae.guides.catalogue import GUIDES, encoder_of
from groundvae.guides.family import NormalFamily
from groundvae.guides.joint import JointGuide
from groundvae.inference.penalty import PENALTIES
from groundvae.models.noises import NOISES
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.residuals import RESIDUALS
from groundvae.models.solvers import SOLVERS


@SOLVERS.register("own_heun")
class Heun:
    """One step of Heun's between two samples."""

    asked = 0

    def __call__(self, field, state, times):
        Heun.asked += 1
        states = [state]
        for start, end in zip(times[:-1], times[1:]):
            first = field(start, states[-1])
            second = field(end, states[-1] + (end - start) * first)
            states.append(states[-1] + (end - start) / 2 * (first + second))
        return torch.stack(states)

    def stage_times(self, times):
        return None


@registered
class Sides(Check):
    """Whether predictions are as often above the data as below."""

    name, title, subject = "own_sides", "Above and below", "sides of {of}"
    good, doubtful, measured = 0.4, 0.1, "above"
    sentences = {"good": "On both sides.", "bad": "Only {percent:.0f} % are above."}
    metric_words = {"own_share": "share of the samples below their prediction"}

    def compute(self, context):
        mean = context.inference_data["posterior_predictive"]["x"].mean(("chain", "draw"))
        above = (mean.values > context.x).reshape(len(context.x), -1).mean(1)
        return xr.Dataset({"above": ("observation", above)}, attrs={"latent": "x"})


class Cup(gv.Dynamics):
    """A cup that cools."""

    pace = gv.Latent(gv.LogNormal(-1.0, 0.5), unit="1/s", meaning="how fast it cools")
    start = gv.Latent(gv.Normal(1.0, 0.3), unit="K", meaning="warmer than the room at first")
    states = ("warmth",)
    observed = "warmth"
    solver = "own_heun"

    def initial(self, z, inputs):
        return {"warmth": z.start}

    def rate(self, t, state, z, inputs):
        return {"warmth": -FACTOR * z.pace * state.warmth}


@RESIDUALS.register("own_leak")
class Leak(gv.Residual):
    """A constant flow of an observation's own."""

    def __init__(self, acts_on, *, size=0.1):
        super().__init__(acts_on, (), auxiliary=1)
        self.size = size

    def bind(self, seen):
        flow = self.size * seen.auxiliary[..., 0]
        return lambda time, states: {name: flow for name in self.acts_on}


@NOISES.register("own_twice")
class Twice(Gaussian):
    """Gaussian noise of twice the scale that it learns."""

    def each(self, mean, observed=None):
        return dist.Normal(mean, 2 * self.scale)


@GUIDES.register("own_plain")
def plain(model, length, options):
    encoder = encoder_of(model.system, length)
    return JointGuide(encoder, model.latents, model.auxiliary, NormalFamily, options)


@PENALTIES.register("own_small")
class small:
    """Keeps z_aux small."""

    @staticmethod
    def applies(model, guide):
        return model.auxiliary > 0

    def __new__(cls, step):
        return step.guide_trace.nodes["z_aux"]["value"].square().mean()


def simulate(n, seed):
    random = np.random.default_rng(seed)
    times = np.linspace(0.0, 3.0, 16)
    pace, start = random.lognormal(-1.0, 0.5, n), random.normal(1.0, 0.3, n)
    x = start[:, None] * np.exp(-np.outer(pace, times)) + 0.02 * random.standard_normal((n, 16))
    return gv.Dataset(x, {"t": times}, {"pace": pace, "start": start})


gv.register("own_cup", Cup, residual=Leak("warmth"), noise=Twice(0.1), simulate=simulate)
'''
OPEN: tuple[Registry[Any], ...]
OPEN = (SYSTEMS, RESIDUALS, NOISES, GUIDES, PENALTIES, SOLVERS, CHECKS)
TINY = FitOptions(steps=2, sleep=1.0, calibrate=0.0, batch_size=8, validate_every=1)
SMALL = ("--steps", "2", "--sleep", "1", "--batch-size", "8", "--validate-every", "1")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    for known in OPEN:
        monkeypatch.setattr(known, "_known", dict(known))
    kinds, modules = dict(KINDS), set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    KINDS.clear()
    KINDS.update(kinds)
    for name in set(sys.modules) - modules:  # else the workers of another test's cluster read them
        if name.startswith(PREFIX):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return written(tmp_path / "cup.py")


def written(path: Path, factor: float = 1.0) -> Path:
    path.write_text(f"# {path}\nFACTOR = {factor}\n{OWN}")  # its content is new: so is the module
    return path


def test_what_a_file_registers_is_found_by_name(own: Path) -> None:
    load(own)
    residual = RESIDUALS["own_leak"]("warmth")  # type: ignore[call-arg, arg-type]
    noise = NOISES["own_twice"](0.3)  # type: ignore[call-arg]
    system = find_system("own_cup").system()
    model = GreyBox(system, residual, noise)
    assert GreyBox.rebuilt(json.loads(json.dumps(model.written()))).written() == model.written()
    assert type(build_guide("own_plain", model, 16)).__name__ == "JointGuide"
    for known in OPEN:
        assert any(name.startswith("own_") for name in known), known.kind


def test_the_command_line_takes_all_of_it_and_reads_the_run_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundvae.diagnostics.checks.ORDER", ("standin",))  # ours: one is enough
    monkeypatch.setattr(CHECKS, "_known", {"standin": CHECKS["standin"]})
    data, folder = str(tmp_path / "d.npz"), tmp_path / "run"
    assert main(["simulate", str(own), "--n", "20", "--out", data]) == 0
    command = ["fit", str(own), "--data", data, "--out", str(folder), "--threads", "1", *SMALL]
    assert main([*command, "--guide", "own_plain", "--weight", "own_small=0.5"]) == 0
    assert "own_small" in (folder / "history.csv").read_text().splitlines()[0]
    written_down = json.loads((folder / "config.json").read_text())
    assert ":Leak@" in written_down["model"]["residuals"][0]["kind"]
    assert ":Twice@" in written_down["model"]["noise"]["kind"]
    assert written_down["recipe"]["guide"] == "own_plain"
    run = load_run(folder)
    assert run.entry.name == "own_cup"
    few = ["--draws", "8", "--predictive-draws", "4", "--threads", "1"]
    out = str(tmp_path / "p.nc")
    assert main(["posterior", str(folder), "--data", data, "--out", out, *few]) == 0
    asked = load(own).Heun.asked
    assert main(["diagnose", str(folder), "--data", data, *few]) == 0
    assert load(own).Heun.asked > asked > 0
    assert 0 <= json.loads((folder / "metrics.json").read_text())["own_share"] <= 1
    assert "sides of x" in (folder / "report.html").read_text()


def test_an_object_may_stand_where_a_name_may(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(own)
    monkeypatch.setattr("groundvae.diagnostics.checks.ORDER", ("standin",))
    monkeypatch.setattr(CHECKS, "_known", {"standin": CHECKS["standin"]})
    monkeypatch.setattr(module.Cup, "solver", module.Heun())
    data = module.simulate(20, 0)
    model = GreyBox(module.Cup(), module.Leak("warmth"), module.Twice(0.1))
    recipe = Recipe("regularized", options=TINY)
    run = fit(model, data, recipe=recipe, guide=module.plain, penalties={"mine": module.small})
    assert run.fit.ending is Ending.FINISHED
    assert type(run.guide).__name__ == "JointGuide"
    assert "mine" in run.fit.history[-1]
    asked = module.Heun.asked
    drawn = gv.posterior(run, data.subset(slice(3)))
    assert module.Heun.asked > asked > 0
    assert "own_share" in diagnose(run, drawn, tmp_path, checks=[module.Sides()]).metrics
    named = fit(model=replace_model(module), data=data, recipe=recipe, guide="own_plain")
    assert type(named.guide).__name__ == "JointGuide"


def replace_model(module: object) -> GreyBox:
    """The same model, of a noise and a residual that are not registered by these names."""
    return GreyBox(module.Cup(), module.Leak("warmth", size=0.2), Gaussian(0.1))  # type: ignore[attr-defined]


def test_a_guide_that_is_registered_is_saved_by_its_name(own: Path, tmp_path: Path) -> None:
    module = load(own)
    recipe = Recipe(options=TINY)
    run = fit(str(own), module.simulate(20, 0), recipe=recipe, guide=module.plain)
    run.save(tmp_path / "run")
    assert load_run(tmp_path / "run").config.how.guide == "own_plain"


def test_a_guide_that_nobody_registered_is_asked_for_by_its_own_name(
    own: Path, tmp_path: Path
) -> None:
    module = load(own)
    del GUIDES._known["own_plain"]
    recipe = Recipe(options=TINY)
    run = fit(str(own), module.simulate(20, 0), recipe=recipe, guide=module.plain)
    run.save(tmp_path / "run")
    with pytest.raises(InputError, match="no guide 'plain', known: structured-normal"):
        load_run(tmp_path / "run")
    GUIDES.register("plain")(module.plain)
    load_run(tmp_path / "run")


def test_installed_packages_offer_things_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "groundvae.things": [
            EntryPoint("good", "groundvae.models.residuals:Network", "groundvae.things"),
            EntryPoint("bad", "groundvae.models.residuals:Nowhere", "groundvae.things"),
        ]
    }
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, [])[:1])
    things: Registry[object] = Registry("thing", "groundvae.things")
    assert things["good"] is Network
    assert list(things) == ["good"]
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, []))
    others: Registry[object] = Registry("thing", "groundvae.things")
    with pytest.raises(InputError, match=r"the thing 'bad' that .* offers cannot be loaded"):
        list(others)


@pytest.mark.parametrize("known", OPEN, ids=lambda known: known.kind)
def test_a_taken_name_is_refused(known: Registry[object]) -> None:
    first = next(iter(known))
    with pytest.raises(InputError, match=f"there is a {known.kind} '{first}' already"):
        known.register(first)(SimpleNamespace(system=None))
    known.register(first)(known[first])  # the same again is no harm


def test_a_file_read_twice_is_no_second_system(own: Path) -> None:
    first = find_system(str(own))
    own.write_text(own.read_text() + "\n")  # touched: another module of the same source
    second = find_system(str(own))
    assert second is not first
    assert find_system("own_cup") is second


@pytest.mark.parametrize(
    ("residual", "said"),
    [
        (lambda: Network("speed", ("t",)), "Network acts on 'speed', which Pendulum does not have"),
        (lambda: Network("velocity", ("mass",)), "Network sees 'mass', which Pendulum does not"),
        (lambda: Network((), ("t",)), "Network acts on nothing, expected a name"),
        (lambda: gv.Waves("velocity", units="grams"), "Waves is in units of 'grams', which Pendu"),
    ],
)
def test_a_residual_of_what_does_not_exist_is_refused(residual: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        GreyBox(Pendulum(), residual())  # type: ignore[operator]
    assert "\n" not in str(refusal.value)


class Bad(Pendulum):
    """Forgets a state, and invents another."""

    def rate(self, t: object, state: object, z: object, inputs: object) -> dict[str, float]:  # type: ignore[override]
        return {"theta": 0.0, "speed": 0.0}


def decode(system: gv.Dynamics) -> None:
    z = {"omega": torch.ones(2), "theta0": torch.ones(2)}
    GreyBox(system).decode(z, None, {"t": torch.linspace(0, 1, 5)})


def test_a_rate_of_other_states_is_refused() -> None:
    with pytest.raises(InputError, match=r"Bad.rate gives theta, speed, expected the states theta"):
        decode(Bad())


@pytest.mark.parametrize(
    ("solver", "said"),
    [
        ("rk5", "no solver 'rk5', known: euler, midpoint, rk4"),
        (0.05, "the solver 0.05 is a float, expected an object that is called with a field"),
    ],
)
def test_a_solver_that_is_none_is_refused(solver: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        decode(type("Unsolved", (Pendulum,), {"solver": solver})())


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_by_name_is_one_of_ours(name: str) -> None:
    start, times = torch.tensor([1.0, 0.0]), torch.linspace(0.0, 1.0, 41)
    if name == "exponential":  # of fields that are linear in the state
        times = times[:2]
    solution = solver_of(name)(lambda t, y: torch.stack([y[..., 1], -y[..., 0]], -1), start, times)
    assert solution.shape == (len(times), 2)
    torch.testing.assert_close(solution[-1, 0], torch.cos(times[-1]), atol=0.03, rtol=0.0)


def test_what_a_law_misspells_is_refused() -> None:
    class Typo(Pendulum):
        def rate(self, t: object, state: object, z: object, inputs: object) -> dict[str, float]:  # type: ignore[override]
            return {"theta": state.velocity, "velocity": z.omgea}  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="there is no latent 'omgea', known: omega, theta0"):
        decode(Typo())


def test_an_observed_state_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="observes 'angle', which is no state of it"):
        type("Blind", (Pendulum,), {"observed": "angle"})


def test_a_run_whose_file_changed_is_refused(own: Path, tmp_path: Path) -> None:
    new_run(RunConfig(str(own), 16)).save(tmp_path / "run")
    load_run(tmp_path / "run")
    own.write_text(own.read_text().replace("z.pace", "2 * z.pace"))
    with pytest.raises(InputError, match=r"declared in .*cup\.py, which has changed since the fit"):
        load_run(tmp_path / "run")


def test_two_files_may_name_a_class_alike(tmp_path: Path) -> None:
    """Each run has the law of its own file, whichever was read last."""
    runs = []
    for factor in (1.0, 3.0):
        path = written(tmp_path / f"cup{factor:g}.py", factor)
        path.write_text(path.read_text().replace("own_", f"own{factor:g}_"))
        folder = tmp_path / f"run{factor:g}"
        new_run(RunConfig(str(path), 16)).save(folder)
        runs.append(folder)
    z, t = {"pace": torch.ones(1), "start": torch.ones(1)}, {"t": torch.linspace(0, 1, 51)}
    for folder, factor in zip(runs, (1.0, 3.0), strict=True):
        decoded = load_run(folder).model.decode(z, torch.zeros(1, 1), t)
        assert float(decoded.physics[0, -1]) == pytest.approx(np.exp(-factor), abs=1e-3)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "defines no system, expected a class of gv.Dynamics"),
        ("x = 1 / 0", "line 1: ZeroDivisionError"),
        ("def (", "line 1: SyntaxError"),
        ("raise SystemExit(3)", "line 1: SystemExit"),
        (OWN.replace("FACTOR", "1.0") + OWN.split("@RES")[0].replace("FACTOR", "1.0"), ""),
        (
            "import groundvae as gv\nfrom groundvae.models.systems.pendulum import Pendulum\n"
            "gv.register('pendulum', Pendulum)\n",
            "there is a system 'pendulum' already, expected another name",
        ),
    ],
    ids=["no system", "fails", "no Python", "exits", "good", "a taken name"],
)
def test_a_file_is_a_system_or_one_sentence(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    command = ["simulate", str(path), "--n", "3", "--out", str(tmp_path / "d.npz")]
    if not said:
        assert entries_of(path)
        return
    assert main(command) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    assert said in shown
    assert "\n" not in shown
    assert not (tmp_path / "d.npz").exists()


def test_of_several_systems_in_a_file_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "cups.py"
    law = OWN.split("@RES")[0].replace("FACTOR", "1.0").partition("import groundvae as gv")[2]
    text = law[law.index("class Cup") :]
    path.write_text(f"import groundvae as gv\n{text}\n{text.replace('Cup', 'Mug')}")
    with pytest.raises(InputError, match=r"has several systems, expected one of .*cups\.py:Cup"):
        find_system(str(path))
    assert find_system(f"{path}:Mug").name == "Mug"
    with pytest.raises(InputError, match=r"has no system 'Jug', known: Cup, Mug"):
        find_system(f"{path}:Jug")


def test_a_registered_variant_of_ours_is_untouched_by_all_this() -> None:
    entry = SYSTEMS["pendulum"]
    other = replace(entry, summary="another")
    with pytest.raises(InputError, match="there is a system 'pendulum' already"):
        SYSTEMS.register("pendulum")(other)
    assert SYSTEMS["pendulum"] is entry
    assert simulate(2, 0).x.shape == (2, 50)
