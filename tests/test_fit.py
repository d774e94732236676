"""The training loop and the saved run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.descent import Descent, rate_at, shorten
from groundvae.guides.phase import Fitting, Terms
from groundvae.guides.simulation import Simulator
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.fit import fit
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, load_run, new_run
from groundvae.models.intervention import Change
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions

OPTIONS = FitOptions(steps=12, sleep=1.0, calibrate=0.5, batch_size=20, validate_every=4)
FEW = PosteriorOptions(draws=6, predictive_draws=4)
PLAIN = "structured-normal"


pytestmark = pytest.mark.usefixtures("one_thread")


def data(n: int = 40, seed: int = 0) -> Dataset:
    return find_system("pendulum").source.simulate(n, seed)


def unfitted(
    options: FitOptions, variant: str = "hybrid-told", guide: str = "", loss: str = ""
) -> Run:
    usual = find_system("pendulum").variant(variant).recipe
    usual = replace(usual, loss=loss or usual.loss)
    recipe = replace(usual, guide=guide or usual.guide, options=options)
    return new_run(RunConfig("pendulum", 50, variant, recipe))


def begun(run: Run) -> Fitting:
    """What the phases of a fit are given."""
    train = Batch.of(data())
    run.guide.prepare(train)
    simulator = Simulator(run.model, population=run.guide.population)
    return Fitting(run.model, run.loss(), train, run.config.options, simulator)


def fitted(
    options: FitOptions = OPTIONS, variant: str = "hybrid-told", guide: str = "", loss: str = ""
) -> Run:
    run = unfitted(options, variant, guide, loss)
    train, valid = Batch.of(data()), Batch.of(data(20, 1))
    run.fit = optimize(run.model, run.guide, run.loss(), train, valid, options)
    return run


def weights(run: Run) -> list[torch.Tensor]:
    return [*run.model.state_dict().values(), *run.guide.state_dict().values()]


def test_same_seed_same_numbers_other_seed_others() -> None:
    first, again, other = fitted(), fitted(), fitted(replace(OPTIONS, seed=1))
    term = "hybrid_simulation"
    assert first.fit.history[-1][term] == again.fit.history[-1][term]
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert first.fit.history[-1][term] != other.fit.history[-1][term]


def test_a_gradient_whose_squares_overflow_is_shortened_in_its_own_direction() -> None:
    one, two = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    one.grad, two.grad = torch.tensor([3e30, 0.0]), torch.tensor([0.0, -4e30])
    assert torch.isfinite(shorten([one, two], 5.0))
    torch.testing.assert_close(one.grad, torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(two.grad, torch.tensor([0.0, -4.0]))
    one.grad = torch.tensor([torch.inf, 0.0])
    assert not torch.isfinite(shorten([one, two], 5.0))


def test_fit_improves_and_logs_every_named_term() -> None:
    run = fitted(replace(OPTIONS, steps=60, validate_every=20))
    names = {"nll", "kl", "ppc", "unmix", "physics_simulation", "hybrid_simulation"}
    awake = [row for row in run.fit.history if names <= set(row)]
    assert len(awake) == 3
    assert awake[-1]["valid_elbo"] > awake[0]["valid_elbo"]
    assert run.fit.stop == "finished"
    assert run.fit.steps == 60 + 60 + 30


def test_settling_moves_the_correction_alone_and_sharpens_the_noise_to_the_data() -> None:
    options = replace(OPTIONS, steps=2, sleep=1.0, calibrate=10.0)
    run = unfitted(options)
    fitting = begun(run)
    for phase in run.guide.phases(fitting):
        under_way = phase.begin(fitting)
        if phase.name == "calibrate":
            break
        for number in range(1, phase.steps + 1):
            under_way.step(number)
    found = float(run.model.noise.scale)
    run.guide.refit_noise(fitting.train)  # type: ignore[operator]
    assert float(run.model.noise.scale) == pytest.approx(found, rel=0.1)
    both = torch.nn.ModuleList([run.model, run.guide])
    before = {k: v.clone() for k, v in both.state_dict().items()}
    records = [under_way.step(number) for number in range(1, phase.steps + 1)]
    after = both.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("1.correction.") for name in moved)
    assert set(records[-1]) == {"elbo", "hybrid_simulation", "loss"}


def test_asleep_the_model_stands_still_and_the_guide_learns_to_invert_it() -> None:
    options = replace(OPTIONS, steps=1, sleep=100.0, calibrate=0.0, learning_rate=1e-2)
    run = unfitted(options)
    fitting = begun(run)
    phase = run.guide.phases(fitting)[0]
    under_way = phase.begin(fitting)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    losses = [under_way.step(number)["hybrid_simulation"] for number in range(1, phase.steps + 1)]
    assert phase.name == "sleep"
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1.0
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize(("guide", "calibration"), [(PLAIN, 0), ("laplace-normal", 6)])
def test_without_simulations_in_the_loss_nothing_sleeps(guide: str, calibration: int) -> None:
    run = fitted(guide=guide, loss="exact")
    assert run.fit.steps == OPTIONS.steps + calibration
    assert not any("hybrid_simulation" in row for row in run.fit.history)


def test_the_best_state_is_kept() -> None:
    run = fitted(replace(OPTIONS, steps=40, calibrate=0.0, learning_rate=5e-3), guide=PLAIN)
    known = [row["valid_elbo"] for row in run.fit.history if "valid_elbo" in row]
    assert len(known) == 10 + 1  # awake, and at the end of the sleep
    torch.manual_seed(0)  # as every validation does
    exact, valid = RegularizedELBO(), Batch.of(data(20, 1))
    draws = [-exact.loss(run.model, run.guide, valid) for _ in range(2)]
    assert np.mean(draws) == pytest.approx(max(known[1:]), rel=1e-5)


def test_a_fit_without_progress_stops_early() -> None:
    options = replace(OPTIONS, steps=400, validate_every=2, patience=2, learning_rate=1e-12)
    run = fitted(replace(options, sleep=0.0, calibrate=0.0))
    assert run.fit.steps < 400
    assert run.fit.stop.startswith("no better validation ELBO in 2")


def test_divergence_names_step_and_cause_and_keeps_a_finite_state() -> None:
    run = fitted(replace(OPTIONS, steps=200, learning_rate=1e5))
    assert run.fit.stop.startswith("diverged at step ")
    assert all(torch.isfinite(value).all() for value in weights(run))


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [rate_at(step, 12) for step in range(12)]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[0] < 0.5
    assert rates[-1] < 0.1
    assert rate_at(0, 1) > 0


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="steps is 0"):
        FitOptions(steps=0)
    with pytest.raises(InputError, match="learning_rate"):
        FitOptions(learning_rate=0.0)
    with pytest.raises(InputError, match="sleep and calibrate"):
        FitOptions(sleep=-1.0)


@pytest.mark.parametrize("variant", ["hybrid-told", "nn-only", "nn-solver", "physics-only"])
def test_save_and_load_give_equal_posterior_draws(tmp_path: Path, variant: str) -> None:
    run = fitted(replace(OPTIONS, steps=4), variant)
    run.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.config == run.config
    first, second = posterior(run, data(5), FEW), posterior(again, data(5), FEW)
    for group in ("posterior", "posterior_predictive", "sample_stats"):
        for name in first[group]:
            np.testing.assert_array_equal(first[group][name], second[group][name])


def test_a_run_folder_holds_plain_files(tmp_path: Path) -> None:
    fitted(replace(OPTIONS, steps=4)).save(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "weights.safetensors", "history.csv", "fit.json"}
    facts = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert facts["seconds"] > 0
    assert facts["peak_memory_mb"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_other_seeds_give_other_draws() -> None:
    run = fitted(replace(OPTIONS, steps=4))
    first = posterior(run, data(5), FEW)["posterior"]["omega"].values
    other = posterior(run, data(5), replace(FEW, seed=1))["posterior"]["omega"].values
    assert not np.array_equal(first, other)


def test_chunks_do_not_change_what_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    run = fitted(replace(OPTIONS, steps=4))
    many = PosteriorOptions(draws=400, predictive_draws=4)
    whole = posterior(run, data(6), many)["posterior"]["omega"].values
    monkeypatch.setattr("groundvae.inference.block.VALUES", 5000)
    parts = posterior(run, data(6), many)["posterior"]["omega"].values
    np.testing.assert_allclose(whole.mean(1), parts.mean(1), atol=6 * whole.std() / 20)


def test_a_no_op_intervention_leaves_predictions_identical() -> None:
    run = fitted(replace(OPTIONS, steps=4))
    plain = posterior(run, data(5), FEW)
    same = posterior(run, data(5), FEW, changes={"omega": Change()})
    doubled = posterior(run, data(5), FEW, changes={"omega": Change(factor=2.0)})
    for group in ("posterior_predictive", "physics_predictive"):
        np.testing.assert_array_equal(plain[group]["x"], same[group]["x"])
        assert not np.array_equal(plain[group]["x"], doubled[group]["x"])
    np.testing.assert_array_equal(
        2 * plain["posterior"]["omega"].values, doubled["posterior"]["omega"].values
    )
    np.testing.assert_array_equal(plain["posterior"]["z_aux"], doubled["posterior"]["z_aux"])


def test_predictions_reach_beyond_the_data() -> None:
    run = fitted(replace(OPTIONS, steps=4))
    ahead = posterior(run, data(3), FEW, until=5.0)
    assert float(ahead["posterior_predictive"]["time"][-1]) == pytest.approx(5.0, abs=1e-4)
    assert ahead["posterior_predictive"]["x"].shape == (1, 4, 3, 101)
    with pytest.raises(InputError, match="before the data's last time"):
        posterior(run, data(3), FEW, until=1.0)


def test_gaps_other_grids_and_other_lengths_are_inferred_from() -> None:
    run = fitted(replace(OPTIONS, steps=4))
    entry = find_system("pendulum")
    gaps = data(4)
    x = gaps.x.copy()
    x[:, 10:15] = np.nan
    times = np.array([0.0, 0.03, 0.1, 0.14, 0.5, 0.9, 1.5, 2.0])
    finer = entry.source.simulate(4, 0).x  # only the shape of what follows matters here
    for other in (
        Dataset(x, gaps.coordinates, gaps.truth),
        Dataset(finer[:, :8], {"t": times}),
    ):
        result = posterior(run, other, FEW)
        assert np.isfinite(result["posterior"]["omega"]).all()
        seen = ~np.isnan(other.x)
        likelihood = result["log_likelihood"]["x"].values[0]
        assert np.isfinite(likelihood[:, seen]).all()
        assert np.isnan(likelihood[:, ~seen]).all()


def test_the_warmth_rises_from_nothing_to_one_and_stays() -> None:
    run = unfitted(OPTIONS)
    kl_weight: list[float] = []

    def note(batch: Batch, weight: float) -> Terms:
        kl_weight.append(weight)
        return {"loss": run.model.noise.scale}

    def steps(count: int, warmup: float) -> None:
        descent = Descent(begun(run), note, [run.model], steps=count, rate=1e-3, warmup=warmup)
        for number in range(1, count + 1):
            descent.step(number)

    steps(100, 0.5)
    assert kl_weight[0] < 1e-3
    assert kl_weight == sorted(kl_weight)
    assert kl_weight[49:] == [1.0] * 51
    kl_weight.clear()
    steps(10, 0.0)
    assert kl_weight[0] == 1.0


def test_a_fit_from_python_warns_that_it_diverged() -> None:
    recipe = find_system("pendulum").variant("hybrid-told").recipe
    recipe = replace(recipe, options=replace(OPTIONS, steps=200, learning_rate=1e5))
    with pytest.warns(RuntimeWarning, match="the fit diverged at step"):
        fit("pendulum", data(20, 1), valid=data(20, 2), variant="hybrid-told", recipe=recipe)
