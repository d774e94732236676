"""A fit that is stopped at any moment goes on, and ends as if nobody had stopped it."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.data.pendulum import simulate
from groundvae.guides import modes
from groundvae.guides.phase import Phase
from groundvae.inference.checkpoint import FILE, Checkpoint, Checkpoints
from groundvae.inference.course import Course
from groundvae.inference.fit import fit, prepare
from groundvae.inference.optimize import optimize
from groundvae.inference.run import Run, load_run
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions

SIMULATE = partial(simulate, times=0.05 * np.arange(20))  # a solve costs by its steps
SMALL = FitOptions(
    steps=6, sleep=1.0, calibrate=1.0, batch_size=12, validate_every=2, learning_rate=1e-3
)
ROUNDS = 14  # of evidence: beyond those at which features come in, and searches begin anew


pytestmark = pytest.mark.usefixtures("one_thread")


class Collected(Checkpoints):
    """Leaves a checkpoint after every step, through its bytes on disk."""

    due = True

    def __init__(self, folder: Path) -> None:
        self.found: list[Checkpoint] = []

        def leave(checkpoint: Checkpoint) -> None:
            checkpoint.write(folder)
            self.found.append(Checkpoint.read(folder))

        super().__init__(leave)


def unfitted(variant: str, guide: str | None, train: int) -> Run:
    recipe = find_system("pendulum").variant(variant).recipe
    steps = SMALL.steps if variant == "hybrid-told" else ROUNDS
    recipe = replace(recipe, options=replace(SMALL, steps=steps))
    return prepare("pendulum", SIMULATE(train, 1), variant=variant, recipe=recipe, guide=guide)


def ended(run: Run, train: int, checkpoints: Checkpoints) -> list[torch.Tensor]:
    dtype = run.model.noise.log_scale.dtype
    data, held = (Batch.of(SIMULATE(n, s), dtype=dtype) for n, s in ((train, 1), (4, 2)))
    run.fit = optimize(
        run.model, run.guide, run.loss(), data, held, run.config.options, None, checkpoints
    )
    return [*run.model.state_dict().values(), *run.guide.state_dict().values()]


@pytest.mark.parametrize(
    ("variant", "guide", "train"),
    [
        ("hybrid-told", None, 30),  # sleep, wake and calibrate, with simulations drawn ahead
        ("hybrid-told", "structured-flow", 30),
        ("hybrid-evidence", None, 8),  # rounds of evidence
        pytest.param("hybrid-reg", None, 12, marks=pytest.mark.slow),  # at the modes
    ],
)
def test_every_checkpoint_leads_to_the_same_end_to_the_last_bit(
    variant: str, guide: str | None, train: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "SERIES", 6)  # then there are rounds on more
    collected = Collected(tmp_path)
    whole = unfitted(variant, guide, train)
    expected = ended(whole, train, collected)
    assert len(collected.found) > 8
    chosen = random.Random(0).choice(collected.found[1:-3])
    for checkpoint in [chosen, collected.found[-3], collected.found[-1]]:
        torch.rand(3)  # another process has other random numbers
        run = unfitted(variant, guide, train)
        found = ended(run, train, Checkpoints(resumed=checkpoint))
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        rows = [{**row, "seconds": 0.0} for row in run.fit.history]
        assert rows == [{**row, "seconds": 0.0} for row in whole.fit.history]
        assert (run.fit.ending, run.fit.steps) == (whole.fit.ending, whole.fit.steps)


def test_one_is_due_after_a_while_and_sooner_than_half_a_minute() -> None:
    left = Checkpoints(lambda _: None)
    assert not left.due
    left._last -= 16
    assert left.due
    left._cost, left._last = 60.0, time.monotonic() - 16
    assert not left.due
    left._last -= 10
    assert left.due
    assert not Checkpoints().due


def command(data: Path, out: Path, *options: str) -> list[str]:
    fit = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(data), "--out", str(out)]
    fit += ["--threads", "1"]
    fit += ["--steps", "20", "--sleep", "1", "--batch-size", "10", "--validate-every", "5"]
    return [*fit, *options]


def stopped_at_work(number: int, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command that is sent a signal at its first validation awake."""

    def judge(self: Course, phase: Phase, **how: bool) -> None:
        if phase.name == "wake" and not how["stop"]:
            signal.raise_signal(number)
        judge_as_usual(self, phase, **how)

    judge_as_usual = Course._judge
    with monkeypatch.context() as patch:
        patch.setattr(Course, "_judge", judge)
        return main(list(arguments))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "d.npz"
    SIMULATE(30, 1).save(path)
    return path


def test_killed_fits_resume_to_the_end_of_one_that_nobody_killed(
    data: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    start = time.monotonic()
    assert main(command(data, whole)) == 0
    took = time.monotonic() - start
    resume = ["fit", "--resume", str(out)]
    for moment in np.random.default_rng(0).uniform(0.1, 0.9, 3) * took:
        arguments = resume if (out / FILE).is_file() else command(data, out, "--overwrite")
        process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
        process.start()  # a fork has imported all there is, so the kill meets the fit
        process.join(moment)
        process.kill()
        process.join()
        if (out / "config.json").is_file():
            load_run(out)
    last = resume if (out / FILE).is_file() else command(data, out, "--overwrite")
    assert main(last) == 0
    name = "weights.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert not (out / FILE).exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_and_says_so_and_the_fit_goes_on(
    number: int,
    code: int,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, name = tmp_path / "run", signal.Signals(number).name
    assert stopped_at_work(number, monkeypatch, *command(data, out, "--steps", "20")) == code
    shown = capsys.readouterr()
    assert f"interrupted by {name}" in shown.out
    assert f"run saved to {out}" in shown.out
    assert f"fit --resume {out}" in shown.err
    run = load_run(out)
    assert run.fit.stop == f"interrupted by {name}"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert main(["fit", "--resume", str(out)]) == 0
    assert load_run(out).fit.stop == "finished"
    assert not (out / FILE).exists()


def test_one_that_is_stopped_after_its_last_step_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    few = ("--steps", "2", "--sleep", "0", "--calibrate", "0")

    def stopped(run: Run, batch: Batch) -> None:
        signal.raise_signal(signal.SIGTERM)

    assert main(command(data, whole, *few)) == 0
    with monkeypatch.context() as patch:
        patch.setattr("groundvae.inference.fit.learn_population", stopped)
        assert main(command(data, out, *few)) == 143
    assert f"fit --resume {out} goes on from there" in capsys.readouterr().err
    assert main(["fit", "--resume", str(out)]) == 0
    for name in ("weights.safetensors", "population.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_python_keeps_a_fit_in_a_folder_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_system("pendulum").variant("physics-only").recipe
    recipe = replace(recipe, options=replace(SMALL, steps=4, sleep=0.0, calibrate=0.0))

    def again(folder: Path, seed: int = 0) -> Run:
        data = SIMULATE(20, seed)
        how = {"variant": "physics-only", "recipe": recipe, "folder": folder, "resume": True}
        return fit("pendulum", data, **how)  # type: ignore[arg-type]

    whole, out = again(tmp_path / "whole"), tmp_path / "run"
    judge_as_usual = Course._judge

    def judge(self: Course, phase: Phase, **how: bool) -> None:
        if not how["stop"]:
            signal.raise_signal(signal.SIGINT)
        judge_as_usual(self, phase, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Course, "_judge", judge)
        assert again(out).fit.stop == "interrupted by SIGINT"
    with pytest.raises(InputError, match="another fit"):
        again(out, seed=1)
    found = again(out)
    assert found.fit.stop == "finished"
    ends = [load_run(folder).model.state_dict() for folder in (out, tmp_path / "whole")]
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])
    assert whole.fit.steps == found.fit.steps
    with pytest.raises(InputError, match="expected"):
        again(out)


def test_a_good_run_is_not_replaced_by_a_worse_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    few = ("--steps", "2", "--sleep", "0", "--calibrate", "0")
    assert main(command(data, out, *few)) == 0
    before = (out / "weights.safetensors").read_bytes()
    again = command(data, out, "--steps", "20", "--sleep", "0", "--overwrite")
    assert stopped_at_work(signal.SIGTERM, monkeypatch, *again) == 143
    assert f"saved to {out}-2, {out} is kept as it was" in capsys.readouterr().out
    assert load_run(Path(f"{out}-2")).fit.stop == "interrupted by SIGTERM"
    assert Checkpoint.read(Path(f"{out}-2")).values["fit"]["steps"] > 0
    assert main([*again, "--learning-rate", "1e6"]) == 2
    assert f"{out}-3" in capsys.readouterr().err
    assert load_run(Path(f"{out}-3")).fit.stop.startswith("diverged")
    assert (out / "weights.safetensors").read_bytes() == before
    assert load_run(out).fit.stop == "finished"
    assert not (out / FILE).exists()


def test_what_cannot_be_resumed_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--resume", str(tmp_path / "none")]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert main(["fit", "pendulum", "--resume", str(tmp_path)]) == 2
    assert "expected no option but --cluster" in capsys.readouterr().err
    (tmp_path / FILE).write_bytes(b"nothing")
    assert main(["fit", "--resume", str(tmp_path)]) == 2
    assert "its checkpoint is damaged" in capsys.readouterr().err
    with pytest.raises(InputError, match="did not end"):
        load_run(tmp_path)


def test_a_fit_does_not_go_on_with_other_data(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = tmp_path / "d.npz", tmp_path / "run"
    own.write_bytes(data.read_bytes())
    arguments = command(own, out, "--steps", "20", "--sleep", "0")
    assert stopped_at_work(signal.SIGINT, monkeypatch, *arguments) == 130
    SIMULATE(30, 5).save(own)
    assert main(["fit", "--resume", str(out)]) == 2
    assert "other data" in capsys.readouterr().err
