"""The sections of the report: each runs some diagnostics of one Subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics import (
    calibration,
    contraction,
    coverage,
    decomposition,
    energy,
    evidence,
    looseries,
    predictive,
    priorpredictive,
    pvalue,
    rank,
    reconstruction,
    recovery,
    sensitivity,
    standin,
    tarp,
    weights,
    zscore,
)
from groundvae.diagnostics.latents import KnownLatent, known_latents
from groundvae.diagnostics.subject import Subject
from groundvae.diagnostics.verdict import Verdict


class LeftOutError(Exception):
    """A section does not apply; the message says why."""


@dataclass(frozen=True)
class Drawing:
    """A figure not yet on disk, with what it shows in words and how to read it."""

    name: str
    figure: Figure
    alternative: str
    caption: str


@dataclass
class Finding:
    """What one section found."""

    verdicts: list[Verdict] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, verdicts: Verdict | Iterable[Verdict]) -> bool:
        """Keep verdicts; says whether any of them was possible, so that a figure makes sense."""
        kept = [verdicts] if isinstance(verdicts, Verdict) else list(verdicts)
        self.verdicts += kept
        return any(v.level != "not enough data" for v in kept)

    def draw(self, name: str, figure: Figure, alternative: str, caption: str) -> None:
        self.drawings.append(Drawing(name, figure, alternative, caption))


def _need(subject: Subject, *groups: str) -> None:
    missing = [g for g in groups if g not in subject.inference_data]
    if missing:
        raise LeftOutError(f"the posterior has no {missing[0]}")


def measured_data(subject: Subject) -> Finding:
    finding = Finding()
    if standin.is_stand_in(subject.run):
        finding.metrics[standin.METRIC] = 1.0
        finding.judge(standin.check_stand_in(subject.run, subject.observations))
    return finding


def conserved(subject: Subject) -> Finding:
    if not energy.has_energy(subject.run):
        return Finding()
    result = energy.compute_energy(subject.run, subject.inference_data, subject.batch)
    finding = Finding(metrics={"energy_drift": float(result["drift"].mean())})
    finding.draw(
        "energy",
        energy.plot_energy(result),
        "The learned Hamiltonian on the plane of the first two principal directions of the "
        "states (q, p), with the paths of a few observations.",
        "Physics alone moves along levels of H in all of its dimensions; on this plane through "
        "them paths cross levels, unless the plane holds nearly all of the states' variance.",
    )
    return finding


def reconstruct(subject: Subject) -> Finding:
    _need(subject, "posterior_predictive")
    result = reconstruction.compute_reconstruction(subject.inference_data)
    if "sse" not in result:
        raise LeftOutError("predictions and data have different shapes")
    entry, finding = subject.run.entry, Finding()
    finding.metrics["predictive_cov90"] = result.attrs["band_coverage"]
    finding.draw(
        "reconstruction",
        reconstruction.plot_reconstruction(result, entry.quantity, entry.unit),
        f"Observed {entry.quantity} of a few observations with the full model's mean, "
        "its 90 % band and the prediction of physics alone.",
        "From the best to the worst reconstructed observation. Where physics alone is far from "
        "the data, the residual explains the difference; trust the physics latents less there.",
    )
    return finding


def against_truth(subject: Subject) -> Finding:
    names = [z.name for z in subject.run.model.grounding.latents]
    if not names:
        raise LeftOutError("the model has no physics latents, so there is nothing to compare")
    finding = Finding()
    known = list(known_latents(subject.inference_data, subject.periods))
    unknown = [n for n in names if n not in {latent.name for latent in known}]
    if unknown:
        finding.notes.append(
            f"Against truth: the data carry no true {', '.join(unknown)}, so no recovery, "
            "coverage, ranks or bias is shown."
        )
    for latent in known:
        _compare(subject, latent, finding)
    return finding


def _compare(subject: Subject, latent: KnownLatent, finding: Finding) -> None:
    name = latent.name
    recovered = recovery.compute_recovery(latent)
    covered = coverage.compute_coverage(latent)
    ranked = rank.compute_rank(latent)
    scored = zscore.compute_zscore(latent, subject.prior_variance[name])
    finding.metrics |= {
        f"{name}_correlation": recovered.attrs["correlation"],
        f"{name}_coverage_deviation": covered.attrs["deviation"],
        f"{name}_rank_deviation": ranked.attrs["deviation"],
        f"{name}_bias_sd": scored.attrs["bias"],
        f"{name}_zscore_rms": scored.attrs["rms"],
    }
    finding.judge(recovery.check_recovery(recovered))
    finding.draw(
        f"recovery_{name}",
        recovery.plot_recovery(recovered),
        f"Inferred {name} with 90 % intervals against its true value.",
        "Points on the line are right. If fewer than 90 % of the intervals reach the line, the "
        "posterior is overconfident.",
    )
    if finding.judge(coverage.check_coverage(covered)):
        finding.draw(
            f"coverage_{name}",
            coverage.plot_coverage(covered),
            f"Share of true {name} inside central intervals against the intervals' level.",
            "Below the diagonal the intervals are too narrow, above it too wide. Averages over "
            "all observations: two groups can err in opposite directions and cancel.",
        )
    if finding.judge(rank.check_rank(ranked)):
        finding.draw(
            f"rank_{name}",
            rank.plot_rank(ranked),
            f"Histogram of the ranks of true {name} and their distance from uniform.",
            "A valley means too narrow, a hill too wide, a slope shifted. Right: inside the grey "
            "band is what calibrated posteriors show.",
        )
    if finding.judge(zscore.check_zscore(scored)):
        finding.draw(
            f"zscore_{name}",
            zscore.plot_zscore(scored),
            f"Z-score of true {name} against the contraction of its posterior.",
            "Right and near 0 is best. Far from 0: confident and wrong. Left, where little of the "
            "prior is ruled out: the data say little about it.",
        )


def inform(subject: Subject) -> Finding:
    if not subject.draws:
        raise LeftOutError("the model has no latents")
    result = contraction.compute_contraction(
        subject.draws, subject.prior_variance, subject.log_prior
    )
    finding = Finding(metrics=_by_latent(result["contraction"], "contraction"))
    if "kl" in result:
        finding.metrics |= _by_latent(result["kl"], "kl")
    finding.metrics["active_units"] = float((result["activity"] > contraction.ACTIVE).sum())
    if finding.judge(contraction.check_contraction(result)):
        finding.draw(
            "contraction",
            contraction.plot_contraction(result),
            "Contraction of each latent's posterior from its prior, as boxes over observations.",
            "Near 1 the data decide, near 0 the prior does. A narrow posterior is not yet a "
            "right one: read it beside coverage.",
        )
    return finding


def _by_latent(values: xr.DataArray, what: str) -> dict[str, float]:
    medians = values.median("observation")
    return {f"{name}_{what}": float(medians.sel(latent=name)) for name in values["latent"].values}


def self_calibration(subject: Subject) -> Finding:
    if not subject.draws:
        raise LeftOutError("the model has no latents")
    test, finding = subject.self_test, Finding()
    result = calibration.compute_calibration(test, subject.prior_variance)
    deviations = zip(result["latent"].values, result["deviation"].values, strict=True)
    finding.metrics |= {f"{name}_sbc_deviation": float(value) for name, value in deviations}
    finding.judge(calibration.check_calibration(result))
    finding.draw(
        "calibration",
        calibration.plot_calibration(result),
        "Distance of simulated latents' ranks from uniform, beside each latent's contraction.",
        "The guide, asked about data that the fitted model simulated. It says nothing about "
        "whether the model is right about real data, and a guide that returns the prior passes: "
        "hence the contraction beside it.",
    )
    joint = tarp.compute_tarp(test.draws, test.truths, subject.periods)
    finding.metrics["tarp_deviation"] = joint.attrs["deviation"]
    finding.judge(tarp.check_tarp(joint))
    finding.draw(
        "tarp",
        tarp.plot_tarp(joint),
        "Expected coverage of regions of the joint posterior less their level.",
        "As above, for all latents together: it sees wrong correlations that ranks of single "
        "latents miss.",
    )
    return finding


def approximation(subject: Subject) -> Finding:
    _need(subject, "sample_stats")
    log_weight = subject.inference_data["sample_stats"]["log_weight"]
    if log_weight.sizes["draw"] < weights.DRAWS:
        raise LeftOutError(f"fewer than {weights.DRAWS} predictive draws")
    weighed = weights.compute_weights(log_weight)
    bound = evidence.compute_evidence(log_weight)
    finding = Finding(
        metrics={
            "iwae": float(bound["iwae"].mean()),
            "bound_gap": float(bound["gap"].median()),
            "khat_median": float(weighed["khat"].median()),
            "khat_above": weights.share_above(weighed),
            "effective_share": float(weighed["ess"].median()),
        }
    )
    if finding.judge(weights.check_weights(weighed)):
        finding.draw(
            "weights",
            weights.plot_weights(weighed),
            "Sorted Pareto k-hat of the observations with its limit, and effective draws.",
            "Above the limit the guide's draws cannot be corrected by weights. With as many "
            "latents as here k-hat is strict: means may be fine where it is high.",
        )
    if finding.judge(evidence.check_evidence(bound)):
        finding.draw(
            "evidence",
            evidence.plot_evidence(bound),
            "Histogram of the log predictive density of the observations.",
            "Use it to compare models on the same data, and to find the observations that the "
            "model expects least. It is a lower bound, and looser where k-hat is high.",
        )
    return finding


def model_check(subject: Subject) -> Finding:
    _need(subject, "posterior_predictive")
    bands = predictive.compute_predictive(subject.inference_data)
    values = pvalue.compute_pvalue(subject.inference_data)
    shares = pvalue.extreme(values)
    finding = Finding(metrics={"predictive_deviation": bands.attrs["deviation"]})
    for name in values["statistic"].values:
        finding.metrics[f"extreme_{name}"] = float(shares.sel(statistic=name))
    if finding.judge(predictive.check_predictive(bands)):
        finding.draw(
            "predictive",
            predictive.plot_predictive(bands),
            "Coverage of the predictive bands less their level, and a histogram of the share of "
            "each observation's samples inside the 90 % band.",
            "Below 0 the bands are too narrow. The data are used twice, so a right model lies a "
            "little above.",
        )
    if finding.judge(pvalue.check_pvalue(values)):
        finding.draw(
            "pvalue",
            pvalue.plot_pvalue(values),
            "Histograms of the Bayesian p-values of misfit and of structure in the residuals.",
            "A heap at 0 means errors larger, or smoother, than the model's own. At 1 they are "
            "smaller: the noise scale is too large there.",
        )
    return finding


def left_out_samples(subject: Subject) -> Finding:
    _need(subject, "log_likelihood", "posterior_predictive")
    if subject.inference_data["log_likelihood"].sizes["draw"] < looseries.DRAWS:
        raise LeftOutError(f"fewer than {looseries.DRAWS} predictive draws")
    result = looseries.compute_looseries(subject.inference_data)
    finding = Finding(
        metrics={
            "loo_pit_deviation": result.attrs["deviation"],
            "elpd_loo_sample": float(result["elpd"].mean()),
        }
    )
    if finding.judge(looseries.check_looseries(result)):
        finding.draw(
            "looseries",
            looseries.plot_looseries(result),
            "Histogram of the LOO-PIT of single samples, and its distance from uniform.",
            "Each sample against what the rest of its own observation predicts. A valley means "
            "bands too narrow. Neighbours are alike, so it is easier to pass than forecasting.",
        )
    return finding


def prior_check(subject: Subject) -> Finding:
    _need(subject, "prior_predictive")
    result = priorpredictive.compute_priorpredictive(subject.inference_data)
    finding = Finding(metrics={"prior_outside": result.attrs["outside"]})
    entry = subject.run.entry
    if finding.judge(priorpredictive.check_priorpredictive(result)):
        finding.draw(
            "priorpredictive",
            priorpredictive.plot_priorpredictive(result, entry.quantity, entry.unit),
            "The data over the band in which the fitted model's prior predictions lie.",
            "The residual and the noise here are fitted, so it checks the priors of the latents, "
            "not an unfitted model.",
        )
    return finding


def grey_box(subject: Subject) -> Finding:
    system = subject.run.model.system
    if not system.grounded:
        raise LeftOutError("the model has no physics to be told from a residual")
    if not system.auxiliary:
        raise LeftOutError("the model is physics alone, it has no residual")
    batch = subject.batch
    x = subject.inference_data["observed_data"]["x"].values
    worlds = decomposition.decode_worlds(
        subject.run.model, batch, subject.inference_data["posterior"]
    )
    if any(w.shape != x.shape for w in worlds.values()):
        raise LeftOutError("physics alone and data have different shapes")
    result = decomposition.compute_decomposition(x, worlds)
    if not np.isfinite(result["pooled"]).all():
        raise LeftOutError("the data do not vary, so there is no variance to share out")
    shares = zip(result["part"].values, result["pooled"].values, strict=True)
    finding = Finding(metrics={f"share_{part}": float(share) for part, share in shares})
    if finding.judge(decomposition.check_decomposition(result)):
        finding.draw(
            "decomposition",
            decomposition.plot_decomposition(result),
            "Shares of the variance explained by physics alone, by each residual, and by nothing.",
            "Each is credited with what it adds to the one before. A large residual is not "
            "wrong, but then the physics latents depend on how the work is shared.",
        )
    return finding


def power_scaling(subject: Subject) -> Finding:
    _need(subject, "log_likelihood")
    names = [z.name for z in subject.run.model.grounding.latents]
    if not names:
        raise LeftOutError("the model has no physics latents")
    if subject.inference_data["log_likelihood"].sizes["draw"] < looseries.DRAWS:
        raise LeftOutError(f"fewer than {looseries.DRAWS} predictive draws")
    result = sensitivity.compute_sensitivity(subject.inference_data, subject.log_prior)
    medians = result["sensitivity"].median("observation")
    finding = Finding()
    for name in names:
        for component in sensitivity.COMPONENTS:
            value = medians.sel(latent=name, component=component)
            finding.metrics[f"{name}_{component}_sensitivity"] = float(value)
    if finding.judge(sensitivity.check_sensitivity(result)):
        finding.draw(
            "sensitivity",
            sensitivity.plot_sensitivity(result),
            "Sensitivity of each physics latent to the prior against that to the likelihood.",
            "Right of the dashed line the prior matters. High on both: prior and data disagree. "
            "Reweighted draws of the guide, so doubtful where k-hat is high.",
        )
    return finding


SECTIONS: Mapping[str, Callable[[Subject], Finding]] = {
    "Measured data": measured_data,
    "Reconstruction": reconstruct,
    "Against truth": against_truth,
    "Information": inform,
    "Self-calibration": self_calibration,
    "Approximation": approximation,
    "Predictive checks": model_check,
    "Left-out samples": left_out_samples,
    "Prior predictive check": prior_check,
    "Grey box": grey_box,
    "Energy": conserved,
    "Power-scaling": power_scaling,
}
