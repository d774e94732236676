"""What is wrong with a law of one's own is one sentence, in Python and on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.ownfile import find_system
from groundvae.models.system import KINDS
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.pendulum import Pendulum
from groundvae.physics.errors import NonFiniteError

LAW = """
import math
import numpy as np
import torch
import groundvae as gv

class Spring(gv.Dynamics):
    omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where it is let go")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z, inputs):
        return {"position": z.start, "velocity": 0.0}

    def rate(self, t, state, z, inputs):
        return {"position": state.velocity, "velocity": -z.omega**2 * state.position}
"""
RATE = '        return {"position": state.velocity, "velocity": -z.omega**2 * state.position}'
DEF = "    def rate(self, t, state, z, inputs):"
MASS = (
    '    states = ("position',
    '    mass = gv.Input(unit="kg", meaning="of the body")\n    states = ("position',
)
AT = r" at omega = [\d.e+-]+, start = [\d.e+-]+, expected a finite number"

BAD: dict[str, tuple[str, str, str]] = {
    # what is wrong: (what stands in the law, what instead, what is said; HERE marks the line)
    "raises": (RATE, "        x = 1 / 0  # HERE", "Spring.rate fails, ZeroDivisionError: division"),
    "misspelt": (
        RATE,
        "        return {'position': state.speed, 'velocity': 0.0}  # HERE",
        "Spring.rate fails, there is no state 'speed', known: position, velocity",
    ),
    "not told": (RATE, "        inputs.mass  # HERE", "there is no input 'mass', known: t"),
    "other states": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return {{'position': 0.0, 'speed': 0.0}}",
        "Spring.rate gives position, speed, expected the states position, velocity",
    ),
    "no mapping": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return state.velocity",
        "Spring.rate gives a Tensor, expected a mapping of position, velocity",
    ),
    "a shape": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return {{'position': torch.zeros(3), 'velocity': 0.0}}",
        r"Spring.rate gives the shape \(3,\) for position, expected \(10,\)",
    ),
    "integers": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return {{'position': 0.0, 'velocity': state.position.long()}}",
        "Spring.rate gives torch.int64 for velocity, expected float32 or float64",
    ),
    "numpy": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return {{'position': 0.0, 'velocity': np.zeros(8)}}",
        "Spring.rate gives numpy's ndarray for velocity, expected a tensor or a number",
    ),
    "numpy inside": (
        RATE,
        "        return {'position': 0.0, 'velocity': np.sin(state.position)}  # HERE",
        "Spring.rate uses numpy, expected functions of torch",
    ),
    "math inside": (
        RATE,
        "        return {'position': 0.0, 'velocity': math.sin(state.position)}  # HERE",
        "Spring.rate fails, .*converted to",
    ),
    "in place": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        state.velocity.mul_(0.5)\n{RATE}",
        "Spring.rate changes velocity in place, expected new tensors",
    ),
    "a latent in place": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        z.omega.add_(1.0)\n{RATE}",
        "Spring.rate changes omega in place",
    ),
    "nan": (
        f"{DEF}\n{RATE}",
        f"{DEF}  # HERE\n        return {{'position': 0.0, 'velocity': torch.sqrt(-z.omega)}}",
        f"Spring.rate gives nan for velocity{AT}",
    ),
    "infinite at first": (
        '    def initial(self, z, inputs):\n        return {"position": z.start',
        '    def initial(self, z, inputs):  # HERE\n        return {"position": z.start / 0.0',
        f"Spring.initial gives -?inf for position{AT}",
    ),
    "observed": (
        DEF,
        f"    def observe(self, state, z, inputs):  # HERE\n        return z.omega\n\n{DEF}",
        r"Spring.observe gives the shape \(10, 1\), expected \(10, 16\)",
    ),
    "observes nothing": (
        "class Spring(gv.Dynamics):",
        "class Spring(gv.Dynamics):  # HERE",
        "Spring observes 'angle', which is no state of it, known: position, velocity",
    ),
    "a residual": (
        RATE,
        f"{RATE}\n\ngv.register('spring', Spring, residual=gv.Network('speed', ('t',)))  # HERE",
        "Network acts on 'speed', which Spring does not have, known: observation, position",
    ),
    "a residual's eyes": (
        RATE,
        f"{RATE}\n\ngv.register('s', Spring, residual=gv.Network('velocity', ('mass',)))  # HERE",
        "Network sees 'mass', which Spring does not have, known: omega, start, t, position, vel",
    ),
    "a taken name": (
        RATE,
        f"{RATE}\n\ngv.register('pendulum', Spring)  # HERE",
        "there is a system 'pendulum' already, expected another name",
    ),
    "no Python": (RATE, "        return {  # HERE\n", "SyntaxError: '{' was never closed"),
    "an import": ("import math", "import a_module_that_is_not  # HERE", "ModuleNotFoundError: "),
}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(SYSTEMS, "_known", dict(SYSTEMS))
    kinds = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(kinds)


def data(n: int = 10) -> gv.Dataset:
    times = np.linspace(0.0, 1.5, 16)
    return gv.Dataset(np.cos(np.outer(np.linspace(1.0, 2.0, n), times)), {"t": times})


def written(path: Path, old: str, new: str) -> Path:
    text = LAW.replace('observed = "position"', 'observed = "angle"') if "class" in old else LAW
    assert old in text
    path.write_text(f"# {path}{text.replace(old, new)}")
    return path


def in_python(path: Path) -> str:
    with pytest.raises(InputError) as refusal:
        gv.fit(str(path), data())
    return str(refusal.value)


@pytest.fixture
def on_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    def run(path: Path) -> str:
        data().save(tmp_path / "d.npz")
        command = ["fit", str(path), "--data", str(tmp_path / "d.npz"), "--threads", "1"]
        assert main([*command, "--out", str(tmp_path / "run")]) == 2
        assert not (tmp_path / "run").exists()
        shown = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("fitting")]
        assert len(shown) == 1, shown
        return shown[0].removeprefix("error: ")

    return run


@pytest.mark.parametrize("case", BAD)
def test_a_bad_law_is_one_sentence(
    case: str, tmp_path: Path, on_command_line: Callable[[Path], str]
) -> None:
    old, new, said = BAD[case]
    path = written(tmp_path / "spring.py", old, new)
    lines = path.read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "HERE" in text)
    for told in (in_python(path), on_command_line(path)):
        assert told.startswith(f"{path}: line {line}: "), told
        assert re.search(said, told), told
        assert "\n" not in told


def test_what_leaves_the_finite_numbers_on_its_way_is_named_as_well() -> None:
    class Runaway(Pendulum):
        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            return {"theta": 0.0, "velocity": torch.exp(z.omega * 100 * (1 + state.velocity))}

    z = {"omega": torch.tensor([0.001, 2.5]), "theta0": torch.tensor([1.0, 0.5])}
    said = (
        r"the solution of sample 1 is not finite from t = 0.25 s on, velocity first, at omega = 2.5"
        r", theta0 = 0.5, by .*test_bad_law.py: line \d+: .*Runaway.rate; use a smaller step than"
    )
    with pytest.raises(NonFiniteError, match=said):
        gv.GreyBox(Runaway()).decode(z, None, {"t": torch.linspace(0.0, 1.0, 5)})


def test_an_input_that_the_data_do_not_have(
    tmp_path: Path, on_command_line: Callable[[Path], str]
) -> None:
    path = written(tmp_path / "spring.py", *MASS)
    assert in_python(path) == "the data have no input 'mass', found: none"
    assert on_command_line(path) == f"{tmp_path / 'd.npz'}: has no input 'mass', found: none"


def test_a_law_that_is_good_is_left_alone(tmp_path: Path) -> None:
    """Neither refused, nor are the caller's random numbers used for it."""
    path = written(tmp_path / "spring.py", RATE, RATE)
    model = find_system(str(path)).build()
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    model.prepare(Batch.of(data()))
    assert torch.equal(torch.rand(1), first)
