"""The diagnostics on posteriors whose quality is known: exact, and made wrong on purpose.

``z ~ N(0, I)``, ``x = A z + e``: the exact posterior is normal, with the same covariance for
every x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import multivariate_normal, norm

from groundvae.diagnostics import (
    calibration,
    contraction,
    coverage,
    decomposition,
    evidence,
    loo_pit,
    outofdistribution,
    power_scaling,
    predictive,
    priorpredictive,
    pvalue,
    rank,
    recovery,
    tarp,
    weights,
    zscore,
)
from groundvae.diagnostics.check import CHECKS
from groundvae.diagnostics.latents import KnownLatent, known_latents
from groundvae.diagnostics.selftest import SelfTest
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference import arviz as az
from groundvae.inference.outofdistribution import mark
from groundvae.inference.prediction import residuals

N, SAMPLES, DRAWS, FEW = 1000, 50, 200, 100
SEEDS = range(20)
NAMES = ("a", "b")
PRIOR_VARIANCE = dict.fromkeys(NAMES, 1.0)


@dataclass(frozen=True)
class Linear:
    """Data of one seed and their exact posterior."""

    design: np.ndarray  # (sample, latent)
    z: np.ndarray  # (observation, latent)
    x: np.ndarray  # (observation, sample)
    mean: np.ndarray  # (observation, latent)
    covariance: np.ndarray  # (latent, latent)

    def draws(
        self, rng: np.random.Generator, n: int, *, width: float = 1.0, shift: float = 0.0
    ) -> np.ndarray:
        """Draws (draw, observation, latent) of the exact posterior, or of one made wrong."""
        factor = width * np.linalg.cholesky(self.covariance)
        off = shift * np.sqrt(np.diag(self.covariance))
        return self.mean + off + rng.normal(size=(n, len(self.z), 2)) @ factor.T

    def known(self, draws: np.ndarray) -> list[KnownLatent]:
        return [KnownLatent(k, draws[..., i], self.z[:, i]) for i, k in enumerate(NAMES)]

    def self_test(self, draws: np.ndarray) -> SelfTest:
        known = self.known(draws)
        return SelfTest({k.name: k.truth for k in known}, {k.name: k.draws for k in known})

    def inference_data(self, rng: np.random.Generator, *, width: float = 1.0) -> az.InferenceData:
        draws = self.draws(rng, DRAWS, width=width)
        z = draws[:FEW]
        mean = z @ self.design.T
        log_q = _log_normal(z - self.mean, width**2 * self.covariance)
        pointwise = norm.logpdf(self.x, mean)
        log_p = pointwise.sum(-1) + norm.logpdf(z).sum(-1)
        before = rng.normal(size=(500, 2)) @ self.design.T
        series = ("chain", "draw", "observation", "time")
        replica = mean + rng.normal(size=mean.shape)
        middle = np.median(mean, 0)
        likely = norm.logpdf(self.x, middle), norm.logpdf(replica, mean)
        arrays = (self.x, middle, replica, mean, *likely)
        left = residuals(*(torch.as_tensor(a) for a in arrays))
        groups = {
            "posterior_predictive": (series, replica),
            "log_likelihood": (series, pointwise),
            "prior_predictive": (series[:2] + series[3:], before + rng.normal(size=before.shape)),
        }
        built = {g: xr.Dataset({"x": (dims, v[None])}) for g, (dims, v) in groups.items()}
        posterior = {k: (series[:3], draws[None, ..., i]) for i, k in enumerate(NAMES)}
        truth = {k: ("observation", self.z[:, i]) for i, k in enumerate(NAMES)}
        return az.InferenceData(
            posterior=xr.Dataset(posterior),
            sample_stats=xr.Dataset({"log_weight": (series[:3], (log_p - log_q)[None])}),
            observed_data=xr.Dataset({"x": (series[2:], self.x)}),
            constant_data=xr.Dataset(truth),
            residuals=xr.Dataset({k: (series[:3], v[None].numpy()) for k, v in left.items()}),
            **built,
        )


def _log_normal(off: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.asarray(multivariate_normal(np.zeros(2), covariance).logpdf(off))


def linear(rng: np.random.Generator, n: int = N) -> Linear:
    design = 1.5 * rng.normal(size=(SAMPLES, 2))
    z = rng.normal(size=(n, 2))
    x = z @ design.T + rng.normal(size=(n, SAMPLES))
    covariance = np.linalg.inv(np.eye(2) + design.T @ design)
    return Linear(design, z, x, x @ design @ covariance, covariance)


def judge(check: str, result: xr.Dataset) -> list[Verdict]:
    return CHECKS[check]().verdicts(result.assign_attrs(mend="look again"))


def judge_one(check: str, result: xr.Dataset) -> Verdict:
    (verdict,) = judge(check, result)
    return verdict


def levels(verdicts: list[Verdict]) -> set[str]:
    return {v.level for v in verdicts}


def validated(known: list[KnownLatent], what: str) -> set[str]:
    """Levels of one check over both latents."""
    checks = {
        "recovery": lambda k: judge_one("recovery", recovery.compute_recovery(k)),
        "coverage": lambda k: judge_one("coverage", coverage.compute_coverage(k)),
        "rank": lambda k: judge_one("rank", rank.compute_rank(k)),
        "zscore": lambda k: judge_one("zscore", zscore.compute_zscore(k, 1.0)),
    }
    return levels([checks[what](k) for k in known])


def _marked(scores: np.ndarray, known: np.ndarray) -> xr.Dataset:
    return mark({"surprise": scores}, {"surprise": known})


def every_verdict(toy: Linear, idata: az.InferenceData) -> list[Verdict]:
    known = list(known_latents(idata))
    draws = {k.name: k.draws for k in known}
    log_prior = {k: norm.logpdf(v) for k, v in draws.items()}
    test = toy.self_test(np.stack([draws[k] for k in NAMES], -1))
    worlds = {"physics": toy.mean @ toy.design.T, "full": toy.mean @ toy.design.T}
    weight = idata["sample_stats"]["log_weight"]
    scores = (toy.x**2).sum(-1)
    return [
        *(judge_one("recovery", recovery.compute_recovery(k)) for k in known),
        *(judge_one("coverage", coverage.compute_coverage(k)) for k in known),
        *(judge_one("rank", rank.compute_rank(k)) for k in known),
        *(judge_one("zscore", zscore.compute_zscore(k, 1.0)) for k in known),
        *judge("contraction", contraction.compute_contraction(draws, PRIOR_VARIANCE, log_prior)),
        *judge("calibration", calibration.compute_calibration(test, PRIOR_VARIANCE)),
        judge_one("tarp", tarp.compute_tarp(test.draws, test.truths)),
        judge_one("weights", weights.compute_weights(weight)),
        judge_one("evidence", evidence.compute_evidence(weight)),
        judge_one("predictive", predictive.compute_predictive(idata)),
        *judge("pvalue", pvalue.compute_pvalue(idata["residuals"])),
        judge_one("loo_pit", loo_pit.compute_loo_pit(idata)),
        judge_one("priorpredictive", priorpredictive.compute_priorpredictive(idata)),
        judge_one("decomposition", decomposition.compute_decomposition(toy.x, worlds)),
        *judge("power_scaling", power_scaling.compute_power_scaling(idata, log_prior)),
        judge_one(
            "outofdistribution",
            outofdistribution.compute_outofdistribution(
                _marked(scores[: N // 2], scores[N // 2 :])
            ),
        ),
    ]


def test_the_exact_posterior_passes_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loo_pit, "SAMPLES", 3000)
    rng = np.random.default_rng(0)
    toy = linear(rng)
    verdicts = every_verdict(toy, toy.inference_data(rng))
    assert {v.name: v.level for v in verdicts if v.level != "good"} == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_posterior_passes_the_checks_of_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    toy = linear(rng)
    known = toy.known(toy.draws(rng, DRAWS))
    for what in ("recovery", "coverage", "rank", "zscore"):
        assert validated(known, what) == {"good"}, what


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("width", "word"), [(0.5, "too narrow"), (2.0, "too wide")])
def test_a_wrong_width_fails_coverage_ranks_and_joint(seed: int, width: float, word: str) -> None:
    rng = np.random.default_rng(seed)
    toy = linear(rng)
    draws = toy.draws(rng, DRAWS, width=width)
    known = toy.known(draws)
    assert validated(known, "coverage") == {"bad"}
    assert validated(known, "rank") == {"bad"}
    for verdict in (judge_one("rank", rank.compute_rank(k)) for k in known):
        assert verdict.value > verdict.threshold
    assert validated(known, "zscore") == {"good"}
    for latent in known:
        assert word in judge_one("coverage", coverage.compute_coverage(latent)).meaning
        assert word in judge_one("rank", rank.compute_rank(latent)).meaning
    test = toy.self_test(draws)
    result = calibration.compute_calibration(test, PRIOR_VARIANCE)
    assert levels(judge("calibration", result)) == {"bad"}
    assert judge_one("tarp", tarp.compute_tarp(test.draws, test.truths)).level in (
        "doubtful",
        "bad",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_fails_bias_and_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    toy = linear(rng)
    known = toy.known(toy.draws(rng, DRAWS, shift=0.5))
    assert validated(known, "zscore") == {"bad"}
    assert validated(known, "rank") == {"bad"}
    for latent in known:
        assert "too high" in judge_one("rank", rank.compute_rank(latent)).meaning


@pytest.mark.parametrize("seed", SEEDS)
def test_the_prior_passes_ranks_but_fails_contraction_and_recovery(seed: int) -> None:
    rng = np.random.default_rng(seed)
    toy = linear(rng)
    draws = rng.normal(size=(DRAWS, N, 2))
    known = toy.known(draws)
    assert validated(known, "rank") == {"good"}
    assert validated(known, "recovery") == {"bad"}
    by_name = {k.name: k.draws for k in known}
    found = contraction.compute_contraction(by_name, PRIOR_VARIANCE)
    assert levels(judge("contraction", found)) == {"bad"}
    result = calibration.compute_calibration(toy.self_test(draws), PRIOR_VARIANCE)
    assert levels(judge("calibration", result)) == {"doubtful"}


def test_importance_weights_see_a_guide_that_is_too_narrow() -> None:
    rng = np.random.default_rng(0)
    toy = linear(rng)
    weight = toy.inference_data(rng, width=0.5)["sample_stats"]["log_weight"]
    assert judge_one("weights", weights.compute_weights(weight)).level == "bad"


def test_the_bound_is_the_exact_evidence_where_the_posterior_is_exact() -> None:
    rng = np.random.default_rng(1)
    toy = linear(rng, n=30)
    found = evidence.compute_evidence(toy.inference_data(rng)["sample_stats"]["log_weight"])
    covariance = np.eye(SAMPLES) + toy.design @ toy.design.T
    exact = multivariate_normal(np.zeros(SAMPLES), covariance).logpdf(toy.x)
    np.testing.assert_allclose(found["iwae"], exact, atol=1e-6)
    np.testing.assert_allclose(found["gap"], 0, atol=1e-6)


def test_tarp_sees_a_missing_correlation_that_ranks_do_not() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.97], [0.97, 1.0]])
    factor = np.linalg.cholesky(covariance)
    centre = 3 * rng.normal(size=(N, 2))
    truth = centre + rng.normal(size=(N, 2)) @ factor.T
    draws = centre + rng.normal(size=(DRAWS, N, 2))
    truths, drawn = (
        dict(zip(NAMES, truth.T, strict=True)),
        {k: draws[..., i] for i, k in enumerate(NAMES)},
    )
    for k in NAMES:
        assert (
            judge_one("rank", rank.compute_rank(KnownLatent(k, drawn[k], truths[k]))).level
            == "good"
        )
    assert judge_one("tarp", tarp.compute_tarp(drawn, truths)).level != "good"


def test_a_model_with_too_little_noise_fails_its_predictive_checks() -> None:
    rng = np.random.default_rng(0)
    toy = linear(rng)
    quiet = Linear(toy.design, toy.z, toy.x * 2, toy.mean * 2, toy.covariance)
    idata = quiet.inference_data(rng)
    assert judge_one("predictive", predictive.compute_predictive(idata)).level == "bad"
    misfit = judge("pvalue", pvalue.compute_pvalue(idata["residuals"]))[0]
    assert (misfit.name, misfit.level) == ("misfit of the residuals", "bad")


def test_smooth_errors_fail_the_check_of_structure() -> None:
    rng = np.random.default_rng(0)
    toy = linear(rng)
    wave = np.sin(np.linspace(0, 12, SAMPLES))
    waved = Linear(toy.design, toy.z, toy.x + 0.8 * wave, toy.mean, toy.covariance)
    idata = waved.inference_data(rng)
    found = {v.name: v.level for v in judge("pvalue", pvalue.compute_pvalue(idata["residuals"]))}
    assert found["structure of the residuals"] == "bad"


def test_every_check_refuses_five_observations() -> None:
    rng = np.random.default_rng(0)
    toy = linear(rng, n=5)
    verdicts = every_verdict(toy, toy.inference_data(rng))
    assert levels(verdicts) == {"not enough data"}


def test_angles_that_wrap_are_judged_on_the_circle() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, np.pi, N)
    centre = truth + 0.1 * rng.normal(size=N)
    draws = (centre + 0.1 * rng.normal(size=(DRAWS, N))) % np.pi
    variable = xr.Variable(("chain", "draw", "observation"), draws[None], {"period": np.pi})
    idata = az.InferenceData(
        posterior=xr.Dataset({"angle": variable}),
        constant_data=xr.Dataset({"angle": ("observation", truth)}),
    )
    known = list(known_latents(idata))
    for what in ("recovery", "coverage", "rank", "zscore"):
        assert validated(known, what) == {"good"}, what
    found = recovery.compute_recovery(known[0])
    assert found.attrs["mae"] == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.1)
    assert found.attrs["crps"] == pytest.approx(0.1 * np.sqrt(1 / np.pi), rel=0.1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("bounds", "level"), [((-9.0, 9.0), "good"), ((-9.0, 0.0), "bad"), (None, "good")]
)
def test_a_uniform_prior_is_judged_by_its_bounds(
    seed: int, bounds: tuple[float, float] | None, level: str
) -> None:
    rng = np.random.default_rng(seed)
    toy = linear(rng, n=100)
    idata = toy.inference_data(rng)
    if bounds is not None and not bounds[1]:
        idata["posterior"]["a"] = -0.2 * abs(idata["posterior"]["a"] - toy.mean[:, 0])
    draws = {k: np.concatenate(idata["posterior"][k].values) for k in NAMES}
    flat = {k: np.zeros_like(v) for k, v in draws.items()}
    given = {} if bounds is None else dict.fromkeys(NAMES, bounds)
    found = judge("power_scaling", power_scaling.compute_power_scaling(idata, flat, given))[0]
    assert found.level == level
    assert ("uniform" in found.meaning) == (bounds is not None)
    assert "Another reasonable prior would leave" not in found.meaning


def test_left_out_samples_agree_with_arviz() -> None:
    rng = np.random.default_rng(0)
    toy = linear(rng, n=60)
    idata = toy.inference_data(rng)
    ours = loo_pit.compute_loo_pit(idata)
    flat = idata["log_likelihood"]["x"].values.reshape(1, FEW, -1)
    groups = {"posterior": {"a": flat[..., 0]}, "log_likelihood": {"x": flat}}
    one = az.from_groups(**{name: az.drawn(arrays) for name, arrays in groups.items()})
    theirs = az.loo(one, pointwise=True, reff=1.0)
    np.testing.assert_allclose(float(ours["elpd"].sum()), theirs["elpd"], rtol=1e-6)
    k_hat = np.asarray(theirs["pareto_k"])
    np.testing.assert_allclose(np.sort(ours["khat"]), np.sort(k_hat), atol=1e-6)
