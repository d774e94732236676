"""The sections of the report, in its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from groundvae.diagnostics import (
    calibration,
    condition,
    contraction,
    decomposition,
    energy,
    evidence,
    guide_vs_nuts,
    loo_pit,
    outofdistribution,
    physics_only_refit,
    power_scaling,
    predictive,
    priorpredictive,
    pvalue,
    reconstruction,
    standin,
    tarp,
    weights,
)
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.finding import Finding, LeftOutError
from groundvae.diagnostics.section import Section, attributes, by_latent
from groundvae.diagnostics.truth import against_truth


def _named(result: xr.Dataset, context: Context) -> xr.Dataset:
    """With what the axis of the observations is called."""
    entry = context.run.entry
    return result.assign_attrs(quantity=entry.quantity, unit=entry.unit)


def _information(result: xr.Dataset) -> dict[str, float]:
    found = by_latent(result["contraction"], "contraction")
    found |= by_latent(result["kl"], "kl") if "kl" in result else {}
    return found | {"active_units": float((result["activity"] > contraction.ACTIVE).sum())}


def _extremes(values: xr.Dataset) -> dict[str, float]:
    shares = pvalue.extreme(values)
    return {f"extreme_{n}": float(shares.sel(statistic=n)) for n in shares["statistic"].values}


def _shares(context: Context) -> xr.Dataset:
    posterior = context.inference_data["posterior"]
    x = context.inference_data["observed_data"]["x"].values
    worlds = decomposition.decode_ablations(context.run.model, context.batch, posterior)
    if any(w.shape != x.shape for w in worlds.values()):
        raise LeftOutError("physics alone and data have different shapes")
    result = decomposition.compute_decomposition(x, worlds)
    if not np.isfinite(result["pooled"]).all():
        raise LeftOutError("the data do not vary, so there is no variance to share out")
    return result


def _against_nuts(context: Context) -> xr.Dataset:
    assert context.reference is not None  # a condition of its section
    return guide_vs_nuts.compute_guide_vs_nuts(
        context.inference_data, context.reference, context.periods
    )


def _without_residual(context: Context) -> xr.Dataset:
    spec = context.run.model.latents
    few = slice(0, physics_only_refit.OBSERVATIONS)
    posterior = context.inference_data["posterior"]
    draws = {k: np.concatenate(posterior[k].values)[:, few] for k in spec.names}
    start = {
        k: physics_only_refit.central_draws(v, context.periods.get(k)) for k, v in draws.items()
    }
    moved = physics_only_refit.fit_physics(context.run.model, context.batch[few], start)
    units = {z.name: z.unit for z in spec}
    return physics_only_refit.compute_physics_only_refit(
        draws, moved, context.prior_variance, context.periods, units
    )


def _scaling(result: xr.Dataset) -> dict[str, float]:
    each = result["sensitivity"]
    found = [by_latent(each.sel(component=c), f"{c}_sensitivity") for c in power_scaling.COMPONENTS]
    return {k: v for part in found for k, v in part.items()}


def measured_data(context: Context) -> Finding:
    """Whether the run knows measurements, or a stand-in for them; silent where it does."""
    if not standin.is_stand_in(context.run, str(context.inference_data.attrs.get("source", ""))):
        return Finding()
    verdict = standin.check_stand_in(context.run, context.observations)
    return Finding([verdict], {standin.METRIC: 1.0})


SECTIONS: Mapping[str, Callable[[Context], Finding]] = {
    "Measured data": measured_data,
    "Reconstruction": Section(
        "reconstruction",
        lambda s: _named(reconstruction.compute_reconstruction(s.inference_data), s),
        reconstruction.check_reconstruction,
        lambda r: reconstruction.plot_reconstruction(r, r.attrs["quantity"], r.attrs["unit"]),
        attributes(predictive_cov90="band_coverage"),
        "Observed data of a few observations with the full model's mean, its 90 % band and the "
        "prediction of physics alone.",
        "From the best to the worst reconstructed observation. Where physics alone is far from "
        "the data, the residual explains the difference; trust the physics latents less there.",
        needs=(condition.group("posterior_predictive"), condition.same_shape),
        always=True,
    ),
    "Against truth": against_truth,
    "Out of distribution": Section(
        "outofdistribution",
        lambda s: outofdistribution.compute_outofdistribution(s.inference_data["constant_data"]),
        outofdistribution.check_outofdistribution,
        outofdistribution.plot_outofdistribution,
        attributes(out_of_distribution="share"),
        "Sorted scores of the observations with the threshold set on validation data.",
        "Beyond the dashed line an observation is unlike those that the run was validated on: "
        "its posterior is an extrapolation. `posterior` marks the same observations.",
        needs=(condition.familiar,),
    ),
    "Information": Section(
        "contraction",
        lambda s: contraction.compute_contraction(s.draws, s.prior_variance, s.log_prior),
        contraction.check_contraction,
        contraction.plot_contraction,
        _information,
        "Contraction of each latent's posterior from its prior, as boxes over observations.",
        "Near 1 the data decide, near 0 the prior does. A narrow posterior is not yet a right "
        "one: read it beside coverage.",
        needs=(condition.latents,),
    ),
    "Self-calibration": Section(
        "calibration",
        lambda s: calibration.compute_calibration(s.self_test, s.prior_variance),
        calibration.check_calibration,
        calibration.plot_calibration,
        lambda result: by_latent(result["deviation"], "sbc_deviation"),
        "Distance of simulated latents' ranks from uniform, beside each latent's contraction.",
        "The guide, asked about data that the fitted model simulated. It says nothing about "
        "whether the model is right about real data, and a guide that returns the prior passes: "
        "hence the contraction beside it.",
        needs=(condition.latents,),
        always=True,
    ),
    "Joint self-calibration": Section(
        "tarp",
        lambda s: tarp.compute_tarp(s.self_test.draws, s.self_test.truths, s.periods),
        tarp.check_tarp,
        tarp.plot_tarp,
        attributes(tarp_deviation="deviation"),
        "Expected coverage of regions of the joint posterior less their level.",
        "As above, for all latents together: it sees wrong correlations that ranks of single "
        "latents miss.",
        needs=(condition.latents,),
        always=True,
    ),
    "Importance weights": Section(
        "weights",
        lambda s: weights.compute_weights(s.inference_data["sample_stats"]["log_weight"]),
        weights.check_weights,
        weights.plot_weights,
        lambda result: {
            "khat_median": float(result["khat"].median()),
            "khat_above": weights.share_above(result),
            "effective_share": float(result["ess"].median()),
        },
        "Pareto k-hat of each observation with its limit, and effective draws.",
        "Above the limit the guide's draws cannot be corrected by weights. With as many latents "
        "as here k-hat is strict: means may be fine where it is high.",
        needs=(condition.weighted, condition.enough_draws),
    ),
    "Guide against NUTS": Section(
        "guide_vs_nuts",
        _against_nuts,
        guide_vs_nuts.check_guide_vs_nuts,
        guide_vs_nuts.plot_guide_vs_nuts,
        lambda r: (
            by_latent(r["sd_ratio"], "nuts_sd_ratio")
            | by_latent(abs(r["shift"]), "nuts_shift")
            | by_latent(r["wasserstein"], "nuts_wasserstein")
        ),
        "Densities of the physics latents of a few observations, by the guide and by NUTS.",
        "Both ask the same fitted model, so a difference is the guide's fault alone; where they "
        "agree both can still be wrong about the world.",
        needs=(condition.reference,),
        always=True,
    ),
    "Evidence": Section(
        "evidence",
        lambda s: evidence.compute_evidence(s.inference_data["sample_stats"]["log_weight"]),
        evidence.check_evidence,
        evidence.plot_evidence,
        lambda r: {"iwae": float(r["iwae"].mean()), "bound_gap": float(r["gap"].median())},
        "Histogram of the log predictive density of the observations.",
        "Use it to compare models on the same data, and to find the observations that the model "
        "expects least. It is a lower bound, and looser where k-hat is high.",
        needs=(condition.weighted, condition.enough_draws),
    ),
    "Predictive bands": Section(
        "predictive",
        lambda s: predictive.compute_predictive(s.inference_data),
        predictive.check_predictive,
        predictive.plot_predictive,
        attributes(predictive_deviation="deviation"),
        "Coverage of the predictive bands less their level, and a histogram of the share of each "
        "observation's samples inside the 90 % band.",
        "Below 0 the bands are too narrow. The data are used twice, so a right model lies a "
        "little above.",
        needs=(condition.group("posterior_predictive"),),
    ),
    "Bayesian p-values": Section(
        "pvalue",
        lambda s: pvalue.compute_pvalue(s.inference_data),
        pvalue.check_pvalue,
        pvalue.plot_pvalue,
        _extremes,
        "Histograms of the Bayesian p-values of misfit and of structure in the residuals.",
        "A heap at 0 means errors larger, or smoother, than the model's own. At 1 they are "
        "smaller: the noise scale is too large there.",
        needs=(condition.group("posterior_predictive"),),
    ),
    "Left-out samples": Section(
        "loo_pit",
        lambda s: loo_pit.compute_loo_pit(s.inference_data),
        loo_pit.check_loo_pit,
        loo_pit.plot_loo_pit,
        lambda result: {
            "loo_pit_deviation": float(result.attrs["deviation"]),
            "elpd_loo_sample": float(result["elpd"].mean()),
        },
        "Histogram of the LOO-PIT of single samples, and its distance from uniform.",
        "Each sample against what the rest of its own observation predicts. A valley means bands "
        "too narrow. Neighbours are alike, so it is easier to pass than forecasting.",
        needs=(
            condition.group("log_likelihood"),
            condition.group("posterior_predictive"),
            condition.enough_draws,
        ),
    ),
    "Prior predictive check": Section(
        "priorpredictive",
        lambda s: _named(priorpredictive.compute_priorpredictive(s.inference_data), s),
        priorpredictive.check_priorpredictive,
        priorpredictive.plot_priorpredictive,
        attributes(prior_outside="outside"),
        "The data over the band in which the fitted model's prior predictions lie.",
        "The residual and the noise here are fitted, so it checks the priors of the latents; the "
        "command `check` looks at a model before its fit.",
        needs=(condition.group("prior_predictive"),),
    ),
    "Grey box": Section(
        "decomposition",
        _shares,
        decomposition.check_decomposition,
        decomposition.plot_decomposition,
        lambda r: {f"share_{p}": float(r["pooled"].sel(part=p)) for p in r["part"].values},
        "Shares of the variance explained by physics alone, by each residual, and by nothing.",
        "Each is credited with what it adds to the one before. A large residual is not wrong, but "
        "then the physics latents depend on how the work is shared.",
        needs=(condition.grey_box,),
    ),
    "Residual off": Section(
        "physics_only_refit",
        _without_residual,
        physics_only_refit.check_physics_only_refit,
        physics_only_refit.plot_physics_only_refit,
        lambda r: (
            by_latent(abs(r["shift"]), "residual_off_shift")
            | by_latent(abs(r["of_posterior"]), "residual_off_sd")
        ),
        "Histogram of how far each physics latent moves when the residual is switched off.",
        "Physics alone is fitted to each observation, starting from the posterior. A shift far "
        "outside the grey means that the posterior does not allow for a wrong residual.",
        needs=(condition.grey_box, condition.physics_latents),
    ),
    "Energy": Section(
        "energy",
        lambda s: energy.compute_energy(s.run, s.inference_data, s.batch),
        energy.check_energy,
        energy.plot_energy,
        lambda r: {"energy_drift": float(r["drift"].mean())},
        "The learned Hamiltonian on the plane of the first two principal directions of the states "
        "(q, p), with the paths of a few observations.",
        "Physics alone moves along levels of H in all of its dimensions; on this plane through "
        "them paths cross levels, unless the plane holds nearly all of the states' variance.",
        needs=(condition.hamiltonian,),
        always=True,
    ),
    "Power-scaling": Section(
        "sensitivity",
        lambda s: power_scaling.compute_power_scaling(s.inference_data, s.log_prior, s.bounds),
        power_scaling.check_power_scaling,
        power_scaling.plot_power_scaling,
        _scaling,
        "Sensitivity of each physics latent to the prior against that to the likelihood.",
        "Right of the dashed line the prior matters. High on both: prior and data disagree. "
        "Reweighted draws of the guide, so doubtful where k-hat is high.",
        needs=(
            condition.group("log_likelihood"),
            condition.physics_latents,
            condition.enough_draws,
        ),
    ),
}
