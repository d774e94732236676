"""The guide against NUTS: agreement passes; wrong widths, shifts and bad chains do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from groundvae.data.pendulum import TIMES, simulate
from groundvae.diagnostics.diagnose import diagnose, read_verdicts
from groundvae.diagnostics.guide_vs_nuts import GuideVsNuts, compute_guide_vs_nuts
from groundvae.diagnostics.style import choose
from groundvae.inference import arviz as az
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import RunConfig, new_run

CHOSEN = choose(40, 8)


def drawn(
    rng: np.random.Generator, observations: np.ndarray, shape: tuple[int, int], **wrong: float
) -> az.InferenceData:
    """Normal draws around each observation's own centre, (chain, draw, observation)."""
    centre, spread = 0.1 * observations, 0.5 + 0.01 * observations
    z = rng.normal(size=(*shape, len(observations)))
    values = centre + spread * (wrong.get("shift", 0.0) + wrong.get("width", 1.0) * z)
    values[0] += wrong.get("stuck", 0.0)
    dims = ("chain", "draw", "observation")
    return az.InferenceData(
        posterior=xr.Dataset({"omega": (dims, values)}, {"observation": observations})
    )


def level_and_words(seed: int, **wrong: float) -> tuple[str, str]:
    rng = np.random.default_rng(seed)
    guide = drawn(rng, np.arange(40), (1, 500), **wrong)
    verdict = GuideVsNuts().verdicts(compute_guide_vs_nuts(guide, drawn(rng, CHOSEN, (2, 250))))[0]
    return verdict.level, verdict.meaning


@pytest.mark.parametrize("seed", range(20))
def test_agreement_passes_and_disagreement_fails(seed: int) -> None:
    assert level_and_words(seed)[0] == "good"
    for wrong, word in (
        ({"width": 0.5}, "too narrow by a factor of"),
        ({"width": 2.0}, "too wide by a factor of"),
        ({"shift": 0.5}, "off by 0."),
    ):
        level, meaning = level_and_words(seed, **wrong)
        assert level == "bad", wrong
        assert word in meaning


def test_what_is_measured() -> None:
    rng = np.random.default_rng(0)
    guide = drawn(rng, np.arange(40), (1, 4000), width=2.0, shift=0.5)
    result = compute_guide_vs_nuts(guide, drawn(rng, CHOSEN, (4, 2000)))
    np.testing.assert_allclose(result["sd_ratio"], 2, rtol=0.1)
    np.testing.assert_allclose(result["shift"], 0.5, atol=0.15)
    assert (result["rhat"] < 1.02).all()
    np.testing.assert_array_equal(result["observation"], CHOSEN)


def test_chains_that_disagree_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    guide = drawn(rng, np.arange(40), (1, 500))
    verdict = GuideVsNuts().verdicts(
        compute_guide_vs_nuts(guide, drawn(rng, CHOSEN, (2, 250), stuck=5.0))
    )[0]
    assert verdict.level == "not enough data"
    assert "NUTS converged for 0 of 8 observations" in verdict.meaning


def test_few_observations_and_one_chain() -> None:
    rng = np.random.default_rng(0)
    guide = drawn(rng, np.arange(40), (1, 100))
    result = compute_guide_vs_nuts(guide, drawn(rng, CHOSEN[:3], (1, 100)))
    assert result["rhat"].isnull().all()
    assert GuideVsNuts().verdicts(result)[0].level == "not enough data"
    assert GuideVsNuts().plot(result).axes


def test_angles_are_compared_on_the_circle() -> None:
    rng = np.random.default_rng(0)
    dims, observations = ("chain", "draw", "observation"), np.arange(6)

    def around_zero(width: float) -> az.InferenceData:
        values = (width * rng.normal(size=(2, 500, 6))) % np.pi
        return az.InferenceData(
            posterior=xr.Dataset({"angle": (dims, values)}, {"observation": observations})
        )

    result = compute_guide_vs_nuts(around_zero(0.1), around_zero(0.1), {"angle": np.pi})
    assert GuideVsNuts().verdicts(result)[0].level == "good"


def test_a_report_with_mcmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other checks have their own tests.
    monkeypatch.setattr(
        "groundvae.diagnostics.diagnose.checks_of_report", lambda _: [GuideVsNuts()]
    )
    run = new_run(RunConfig("pendulum", len(TIMES), "hybrid-told"))
    guide = posterior(run, simulate(30, 0), PosteriorOptions(60, 30))
    reference = az.InferenceData(posterior=guide["posterior"].isel(observation=[1, 5, 9, 20, 29]))
    metrics = diagnose(run, guide, tmp_path, reference).metrics
    assert metrics["omega_nuts_sd_ratio"] == pytest.approx(1.0)
    assert (tmp_path / "guide_vs_nuts.png").is_file()
    found = {v.name: v.level for v in read_verdicts(tmp_path)}
    assert found["guide against NUTS: omega"] == "good"
