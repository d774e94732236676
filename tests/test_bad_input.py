"""Bad input: one sentence on stderr that names the thing, exit code 2, nothing written."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from groundvae.cli.main import main
from groundvae.data.pendulum import simulate
from groundvae.inference.run import load_run

if TYPE_CHECKING:
    from tests.conftest import Tiny

Refused = Callable[..., str]
ROWS, SAMPLES = 6, 50
X = np.linspace(-1, 1, ROWS * SAMPLES, dtype=np.float32).reshape(ROWS, SAMPLES)
T = 0.05 * np.arange(SAMPLES)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults such as runs/pendulum are relative: they would be written here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; returns its sentence."""

    def run(*arguments: str | Path) -> str:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1, shown.err
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return shown.err

    return run


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Leaver, ("sprung",)


class Leaver:
    """What the trap builds."""

    def __init__(self, name: str) -> None:
        Path(name).touch()


def with_nan() -> np.ndarray:
    x = X.copy()
    x[2, 5:8] = np.nan
    return x


BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no x": ({"y": X, "t": T}, "no array 'x'"),
    "flat": ({"x": X[0]}, "(50,)"),
    "rank 3": ({"x": X[..., None], "t": T}, "expected (observation, time)"),
    "scalar": ({"x": np.float32(1)}, "()"),
    "no observations": ({"x": X[:0], "t": T}, "(0, 50)"),
    "no samples": ({"x": X[:, :0], "t": T[:0]}, "(6, 0)"),
    "infinite": ({"x": np.full_like(X, np.inf), "t": T}, "infinite values in every observation"),
    "all missing": ({"x": np.full_like(X, np.nan), "t": T}, "0 (no samples)"),
    "text": ({"x": X.astype(str), "t": T}, "not numbers"),
    "complex": ({"x": X.astype(complex), "t": T}, "not numbers"),
    "t repeats": ({"x": X, "t": np.repeat(T[::2], 2)}, "t is not strictly increasing"),
    "t falls": ({"x": X, "t": T[::-1]}, "t is not strictly increasing"),
    "t with nan": ({"x": X, "t": np.where(T[4] == T, np.nan, T)}, "t is not strictly"),
    "t shorter": ({"x": X, "t": T[:-1]}, "t has 49 times"),
    "t empty": ({"x": X, "t": T[:0]}, "t has shape (0,)"),
    "t of rank 3": ({"x": X, "t": np.tile(T, (1, ROWS, 1))}, "t has shape (1, 6, 50)"),
    "t of other rows": ({"x": X, "t": np.tile(T, (ROWS + 1, 1))}, "t has 7 rows"),
    "no t for another length": ({"x": X[:, :30]}, "has no times 't'"),
    "truth of another length": ({"x": X, "t": T, "omega": T}, "omega has shape (50,)"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.parametrize("command", ["fit", "posterior"])
def test_bad_arrays(command: str, case: str, tmp_path: Path, tiny: Tiny, refused: Refused) -> None:
    arrays, named = BAD_ARRAYS[case]
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    start = ["fit", "pendulum"] if command == "fit" else ["posterior", tiny.run]
    said = refused(*start, "--data", path, "--out", tmp_path / "o.nc")
    assert named in said
    assert "d.npz" in said


OTHER_PLACES: dict[str, tuple[str, dict[str, np.ndarray], str]] = {
    "five joints": ("gait", {"x": np.zeros((6, 101, 5))}, "x has 5 joints, expected 3"),
    "degrees": ("gait", {"x": np.full((6, 101, 3), 30.0)}, "expected flexion within -3.14"),
    "two bands": ("galaxy", {"x": np.zeros((6, 69, 69, 2))}, "x has 2 bands, expected 3"),
    "not square": ("galaxy", {"x": np.zeros((6, 40, 69, 3))}, "x has 40 rows, expected 69"),
    "bytes": ("galaxy", {"x": np.full((6, 69, 69, 3), 255.0)}, "brightness within -0.5"),
    "another grid": (
        "advection_diffusion",
        {"x": np.zeros((6, 50, 20)), "t": 0.02 * np.arange(50), "s": 5.0 * np.arange(20)},
        "'s' does not hold the system's own",
    ),
    "a short grid": (
        "advection_diffusion",
        {"x": np.zeros((6, 50, 20)), "t": 0.02 * np.arange(50), "s": 0.1 * np.arange(5)},
        "'s' does not hold the system's own",
    ),
}


@pytest.mark.parametrize("case", OTHER_PLACES)
def test_places_and_ranges_that_no_model_knows(case: str, tmp_path: Path, refused: Refused) -> None:
    system, arrays, named = OTHER_PLACES[case]
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    said = refused("fit", system, "--data", path, "--out", tmp_path / "o")
    assert named in said
    assert "d.npz" in said


def write_garbage(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 no archive")


def write_truncated(path: Path) -> None:
    simulate(3, seed=0).save(path)
    path.write_bytes(path.read_bytes()[:700])


def write_bare(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, X)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap()))


def write_pickled_array(path: Path) -> None:
    np.savez(path, x=np.array([Trap()], dtype=object))


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (Path.mkdir, "no such file"),
    "empty": (Path.touch, "cannot be read"),
    "garbage": (write_garbage, "cannot be read"),
    "truncated": (write_truncated, "cannot be read"),
    "bare array": (write_bare, "one bare array"),
    "pickle": (write_pickle, "pickles are refused"),
    "pickled array": (write_pickled_array, "pickles are refused"),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("command", ["posterior", "predict", "diagnose"])
def test_bad_files(command: str, case: str, tmp_path: Path, tiny: Tiny, refused: Refused) -> None:
    write, named = BAD_FILES[case]
    path = tmp_path / "d.npz"
    write(path)
    out = [] if command == "diagnose" else ["--out", tmp_path / "o.nc"]
    said = refused(command, tiny.run, "--data", path, *out)
    assert named in said
    assert "d.npz" in said
    assert not (tmp_path / "sprung").exists()


def test_the_trap_would_spring(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("command", ["fit", "posterior", "predict"])
def test_missing_samples_when_refused(
    command: str, tmp_path: Path, tiny: Tiny, refused: Refused
) -> None:
    np.savez(tmp_path / "d.npz", x=with_nan(), t=T)
    start = ["fit", "pendulum"] if command == "fit" else [command, tiny.run]
    options = ["--data", "d.npz", "--out", "o.nc", "--refuse-missing"]
    assert "3 missing samples, the first in observation 2" in refused(*start, *options)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": with_nan(), "t": T},
        {"x": X, "t": 0.03 * np.arange(SAMPLES)},
        {"x": X, "t": np.sort(np.random.default_rng(0).uniform(0, 2.5, SAMPLES))},
        {"x": X[:, :20], "t": T[:20]},
        {"x": X[:1], "t": T},
        {"x": X},
    ],
    ids=["gaps", "other step", "uneven", "shorter", "one observation", "own times"],
)
def test_unusual_but_good_data_are_taken(
    arrays: dict[str, np.ndarray], tiny: Tiny, small_posterior: tuple[str, ...]
) -> None:
    np.savez("d.npz", **arrays)
    command = ["posterior", str(tiny.run), "--data", "d.npz", "--out", "o.nc"]
    assert main([*command, *small_posterior]) == 0
    assert Path("o.nc").stat().st_size > 0


def words(value: str | tuple[str, ...]) -> str:
    """An id of a case: its command line."""
    return "" if isinstance(value, str) else " ".join(value) or "nothing"


FIT = ("fit", "pendulum", "--out", "run")
UNREADABLE: list[tuple[tuple[str, ...], str]] = [
    (("simulate", "pendulm", "--out", "a.npz"), "no system 'pendulm'"),
    (("fit", "pendulm"), "no system 'pendulm'"),
    (("compare", "pendulm", "--out", "c"), "no system 'pendulm'"),
    (("simulate", "pendulum", "--n", "0", "--out", "a.npz"), "--n"),
    (("simulate", "pendulum", "--seed", "-1", "--out", "a.npz"), "--seed"),
    (("simulate", "pendulum", "--out", "a.csv"), "a.csv"),
    ((*FIT, "--variant", "hybird"), "no variant 'hybird'"),
    ((*FIT, "--guide", "structured"), "no guide 'structured'"),
    ((*FIT, "--loss", "elob"), "'elob'"),
    ((*FIT, "--prior", "gravity=Normal(0,1)"), "no physics latent 'gravity'"),
    ((*FIT, "--prior", "omega=Norml(0,1)"), "no distribution 'Norml'"),
    ((*FIT, "--prior", "omega=Normal(0,1)"), "expected support within values above 0"),
    ((*FIT, "--prior", "omega"), "'omega'"),
    ((*FIT, "--prior", "omega=LogNormal(0.5"), "'LogNormal(0.5'"),
    ((*FIT, "--prior", "omega=LogNormal(0.5, -1)"), "loc, scale"),
    ((*FIT, "--prior", "omega=Gamma(2,2)", "omega=Gamma(3,3)"), "'omega' twice"),
    ((*FIT, "--weight", "pcc=1"), "no penalty 'pcc'"),
    ((*FIT, "--weight", "ppc"), "'ppc'"),
    ((*FIT, "--weight", "ppc=much"), "'ppc=much'"),
    ((*FIT, "--weight", "ppc=-1"), "'ppc=-1'"),
    ((*FIT, "--weight", "ppc=nan"), "'ppc=nan'"),
    ((*FIT, "--weight", "ppc=1", "ppc=2"), "'ppc' twice"),
    ((*FIT, "--device", "gpu"), "device 'gpu'"),
    ((*FIT, "--device", "meta"), "device 'meta'"),
    ((*FIT, "--steps", "0"), "steps is 0"),
    ((*FIT, "--steps", "abc"), "--steps"),
    ((*FIT, "--steps"), "--steps"),
    ((*FIT, "--learning-rate", "nan"), "learning_rate"),
    ((*FIT, "--stepz", "4"), "--stepz"),
    ((*FIT, "surplus"), "surplus"),
    (("fit", "pendulum", "--until", "3"), "--until"),
    (("compare", "pendulum", "--out", "c", "--variants", "hybird"), "no variant 'hybird'"),
    (("compare", "pendulum", "--out", "c", "--guides", "best"), "no guide 'best'"),
    (("compare", "pendulum", "--out", "c", "--priors", "omega=Normal(0,1)"), "omega"),
    (("compare", "pendulum", "--out", "c", "--seeds", "one"), "--seeds"),
    (("compare", "pendulum", "--out", "c", "--seeds", "1", "1"), "'1' twice"),
    (("compare", "pendulum", "--out", "c", "--seeds", "1", "--seeds", "2"), "given twice"),
    (("compare", "pendulum", "--out", "c", "--seeds", "-1"), "seed is -1"),
    ((*FIT, "--prior", "omega=LogNormal(draw, 0.4)", "draw=Normal(0.5, 1)"), "named 'draw'"),
    (("fit",), "SYSTEM"),
    (("simulate", "pendulum"), "--out"),
    (("posterior",), "RUN"),
    (("learn",), "learn"),
    ((), "simulate"),
]


@pytest.mark.parametrize(("arguments", "named"), UNREADABLE, ids=words)
def test_bad_arguments(arguments: tuple[str, ...], named: str, refused: Refused) -> None:
    assert named in refused(*arguments)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--do", "omega/=2"), "'omega/=2'"),
        (("--do", "omega*=1e999"), "'omega*=1e999'"),
        (("--do", "gravity*=2"), "no latent 'gravity'"),
        (("--do", "omega*=2", "omega+=1"), "'omega' twice"),
        (("--until", "1.0"), "before the data's last time"),
        (("--until", "inf"), "--until is inf"),
        (("--until", "soon"), "--until"),
        (("--draws", "0"), "draws"),
        (("--seed", "-5"), "seed is -5"),
        (("--seed", "99999999999999999999"), "below 2**63"),
        (("--do", "omega=-3"), "omega to -3, expected values above 0"),
        (("--out", "o.csv"), "o.csv"),
    ],
)
def test_bad_predictions(
    options: tuple[str, ...], named: str, tiny: Tiny, refused: Refused
) -> None:
    assert named in refused("predict", tiny.run, "--data", tiny.data, "--out", "o.nc", *options)


@pytest.mark.parametrize("out", ["file/o.nc", "folder.nc"])
def test_results_that_cannot_be_written(out: str, tiny: Tiny, refused: Refused) -> None:
    Path("file").touch()
    Path("folder.nc").mkdir()
    assert out in refused("posterior", tiny.run, "--data", tiny.data, "--out", out)


def test_a_run_below_a_file(refused: Refused) -> None:
    Path("file").touch()
    assert "file/run" in refused("fit", "pendulum", "--out", "file/run")


def test_an_existing_run_is_kept(tiny: Tiny, refused: Refused) -> None:
    shutil.copytree(tiny.run, "run")
    assert "--overwrite" in refused("fit", "pendulum", "--out", "run")


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_folder_that_is_no_run_is_kept(options: tuple[str, ...], refused: Refused) -> None:
    Path("precious").mkdir()
    Path("precious/thesis.tex").touch()
    assert "precious" in refused("fit", "pendulum", "--out", "precious", *options)


def edit_config(*within: str, **changes: object) -> Callable[[Path], None]:
    """Change entries of the config, or of a mapping ``within`` it."""

    def edit(run: Path) -> None:
        path = run / "config.json"
        whole = part = json.loads(path.read_text())
        for name in within:
            part = part[name]
        part |= changes
        for name in [k for k, v in part.items() if v == "delete"]:
            del part[name]
        path.write_text(json.dumps(whole))

    return edit


def truncate(name: str) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        path = run / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return edit


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_text(text)


def flip_a_bit(run: Path) -> None:
    path = run / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def poison(run: Path) -> None:
    edit_config(files="delete")(run)  # as in runs that are older than hashes
    weights = load_file(run / "weights.safetensors")
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] * float("nan")}, run / "weights.safetensors")


def drop_weight(run: Path) -> None:
    weights = load_file(run / "weights.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, run / "weights.safetensors")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (shutil.rmtree, "config.json is missing"),
    "no config": (lambda run: (run / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda run: (run / "weights.safetensors").unlink(), "weights.safetensors"),
    "no fit": (lambda run: (run / "fit.json").unlink(), "fit.json is missing"),
    "config cut": (truncate("config.json"), "damaged"),
    "weights cut": (truncate("weights.safetensors"), "damaged"),
    "weights empty": (write("weights.safetensors", ""), "damaged"),
    "fit cut": (truncate("fit.json"), "damaged"),
    "fit is a list": (write("fit.json", "[]"), "damaged"),
    "history no numbers": (write("history.csv", "step\nx\n"), "damaged"),
    "history too wide": (write("history.csv", "step\n1,2\n"), "damaged"),
    "config no text": (lambda run: (run / "config.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
    "config is a list": (write("config.json", "[1]"), "damaged"),
    "config too deep": (write("config.json", "[" * 100_000), "damaged"),
    "other format": (edit_config(format=99), "format 99"),
    "no format": (edit_config(format="delete"), "damaged"),
    "unknown key": (edit_config(colour="red"), "colour"),
    "unknown system": (edit_config("model", "system", kind="Clock"), "Clock"),
    "unknown residual": (edit_config("model", residuals=[{"kind": "Best"}]), "Best"),
    "unknown noise": (edit_config("model", "noise", kind="Loud"), "Loud"),
    "unknown argument": (edit_config("model", "noise", colour="red"), "colour"),
    "other model": (edit_config("model", residuals=[]), "damaged"),
    "no model": (edit_config(model="delete"), "damaged"),
    "model a list": (edit_config(model=[1]), "damaged"),
    "other guide": (edit_config("recipe", guide="joint-normal"), "damaged"),
    "unknown loss": (edit_config("recipe", loss=3), "damaged"),
    "no recipe": (edit_config(recipe="delete"), "damaged"),
    "recipe a list": (edit_config(recipe=[1]), "damaged"),
    "priors a list": (edit_config(priors=["omega"]), "damaged"),
    "prior no text": (edit_config(priors={"omega": 3}), "damaged"),
    "bad prior": (edit_config(priors={"omega": "Normal(0,1)"}), "omega"),
    "bad options": (edit_config("recipe", "options", steps=0), "steps is 0"),
    "options no mapping": (edit_config("recipe", options=7), "damaged"),
    "negative length": (edit_config(length=-5), "damaged"),
    "length no number": (edit_config(length="long"), "damaged"),
    "huge length": (edit_config(length=10**15), "damaged"),
    "a bit flipped": (flip_a_bit, "weights.safetensors is not what was written"),
    "weights not finite": (poison, "not finite"),
    "a weight missing": (drop_weight, "damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_runs(case: str, tiny: Tiny, refused: Refused) -> None:
    edit, named = DAMAGE[case]
    shutil.copytree(tiny.run, "copy")
    edit(Path("copy"))
    said = refused("posterior", "copy", "--data", tiny.data, "--out", "o.nc")
    assert named in said
    assert "copy: " in said


def test_a_diverging_fit_keeps_the_last_good_state(
    tiny: Tiny, small_fit: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(tiny.data)]
    command += ["--out", "run", *small_fit]
    assert main([*command, "--learning-rate", "1e6"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "diverged at step" in said
    assert re.search(r"term '\w+'|solution of sample|gradient of the loss", said)
    assert [path.name for path in Path().iterdir()] == ["run"]
    run = load_run(Path("run"))
    assert run.fit.stop.startswith("diverged at step")
    assert main(["posterior", "run", "--data", str(tiny.data), "--out", "o.nc"]) == 0
    json.loads(Path("run/fit.json").read_text(), parse_constant=pytest.fail)
